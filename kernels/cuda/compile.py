#!/usr/bin/env python3
"""Compiles all kernels, `kernels.cu`, to the PTX and the cubin that the library embeds. Needs no GPU and no CUDA.

    python3 kernels/cuda/compile.py --cache FOLDER           # writes the two files
    python3 kernels/cuda/compile.py --cache FOLDER --check   # compares with the committed ones

The compiler is NVRTC of CUDA 12.1 from its PyPI wheel, installed into FOLDER on first use. Its PTX is what drivers from
R530 on load, and its output has the same bytes on every machine, so a difference means that a kernel was changed and
this command was not run.

It fails on errors, and on register spills: a kernel that keeps registers in memory is one whose tile is too large.
Exit status: 1 for these and for stale files, 3 if the compiler cannot be had.
"""

import argparse
import ctypes
import re
import subprocess
import sys
from pathlib import Path

NVRTC = "nvidia-cuda-nvrtc-cu12==12.1.105"
HERE = Path(__file__).resolve().parent

# Cubins are made for both, since only ptxas knows of spills; one PTX and one cubin are shipped.
ARCHITECTURES = ["sm_80", "sm_90"]
OPTIONS = ["--std=c++20", "--ptxas-options=-v"]


class CompileError(Exception):
    """The compiler refused the kernels, or they spill registers. The text says where."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the compiler, some 60 MB")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the committed files differ")
    parser.add_argument("--source", type=Path, default=HERE / "kernels.cu", help="another file to compile")
    parser.add_argument("--output", type=Path, default=HERE, help="another folder for the two files")
    parser.add_argument("--verbose", action="store_true", help="print registers and shared memory of each kernel")
    arguments = parser.parse_args()

    try:
        nvrtc = Nvrtc(install(arguments.cache))
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"{NVRTC}: {error}", file=sys.stderr)
        return 3
    try:
        files = compile_all(nvrtc, arguments.source, arguments.verbose)
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1
    stale = []
    for name, content in files.items():
        path = arguments.output / f"{arguments.source.stem}.{name}"
        if arguments.check:
            if not path.is_file() or path.read_bytes() != content:
                stale.append(path.name)
        else:
            path.write_bytes(content)
            print(f"{path.name}: {len(content):,} bytes")
    if stale:
        print(f"stale: {', '.join(stale)}; run compile.py without --check and commit the files", file=sys.stderr)
        return 1
    return 0


def compile_all(nvrtc: "Nvrtc", source: Path, verbose: bool = False) -> dict[str, bytes]:
    """The files to ship, by the end of their names."""
    cubins = {}
    for architecture in ARCHITECTURES:
        cubin, log = nvrtc.compile(source, [f"--gpu-architecture={architecture}", *OPTIONS], "CUBIN")
        spilling = spills(log)
        if spilling:
            raise CompileError(f"{architecture}: registers spill in " + ", ".join(spilling))
        if verbose:
            print(architecture, *resources(log), sep="\n  ")
        cubins[architecture] = cubin
    ptx, _ = nvrtc.compile(source, ["--gpu-architecture=compute_80", *OPTIONS[:1]], "PTX")
    # NVRTC ends the text with a zero byte, which is no part of a text file.
    return {"compute_80.ptx": ptx.rstrip(b"\0"), "sm_90.cubin": cubins["sm_90"]}


def entries(log: str) -> list[tuple[str, str]]:
    """The kernels that a log of `ptxas -v` speaks of, each with its part of the log."""
    parts = re.split(r"Compiling entry function '(\w+)'", log)
    return list(zip(parts[1::2], parts[2::2]))


def spills(log: str) -> list[str]:
    """The kernels that keep registers in memory, with the bytes stored."""
    found = []
    for kernel, part in entries(log):
        stores, loads = (sum(map(int, re.findall(rf"(\d+) bytes spill {what}", part))) for what in ("stores", "loads"))
        if stores or loads:
            found.append(f"`{kernel}` ({stores} B stored, {loads} B loaded)")
    return found


def resources(log: str) -> list[str]:
    """What each kernel uses, one line each."""
    lines = []
    for kernel, part in entries(log):
        used = re.search(r"Used (.*)", part)
        lines.append(f"{kernel}: {used.group(1) if used else '?'}")
    return lines


def install(cache: Path) -> Path:
    """The folder with NVRTC's libraries, from the wheel."""
    home = cache / NVRTC.replace("==", "-")
    libraries = home / "nvidia/cuda_nvrtc/lib"
    if not (libraries / "libnvrtc.so.12").is_file():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--target", str(home), NVRTC], check=True)
    return libraries


class Nvrtc:
    """NVIDIA's run-time compiler, through its C interface."""

    def __init__(self, libraries: Path):
        # The compiler looks for its built-in functions by name only: loaded first, they are found.
        ctypes.CDLL(str(libraries / "libnvrtc-builtins.so.12.1"), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(libraries / "libnvrtc.so.12"))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def compile(self, source: Path, options: list[str], kind: str) -> tuple[bytes, str]:
        """The `CUBIN` or `PTX` of a file, and the compiler's log."""
        options = [*options, f"--include-path={HERE}", f"--include-path={source.resolve().parent}"]
        program = ctypes.c_void_p()
        text, name = source.read_bytes(), source.name.encode()
        self._check(self.library.nvrtcCreateProgram(ctypes.byref(program), text, name, 0, None, None))
        try:
            encoded = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
            status = self.library.nvrtcCompileProgram(program, len(options), encoded)
            log = self._bytes(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
            if status != 0:
                raise CompileError(f"{self._error(status)}: {source.name} with {' '.join(options[:1])}\n{log}")
            return self._bytes(program, kind), log
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def _bytes(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(max(size.value, 1))
        self._check(getattr(self.library, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw[: size.value]

    def _check(self, status: int) -> None:
        if status != 0:
            raise CompileError(f"NVRTC: {self._error(status)}")

    def _error(self, status: int) -> str:
        return self.library.nvrtcGetErrorString(status).decode()


if __name__ == "__main__":
    sys.exit(main())
