#!/usr/bin/env python3
"""Lists the functions that a driver of R530, the oldest that loads our kernels, is known to have: `r530_functions.txt`.

    python3 kernels/emulator/driver/list_r530.py             # writes the list
    python3 kernels/emulator/driver/list_r530.py --check     # compares with the committed one

The source is NVIDIA's `cuda.h` of CUDA 12.1, the version of R530, from its PyPI wheel. A driver exports each function
that the header declares, under that name and under the name to which the header's macros turn it (`cuMemAlloc` is
`cuMemAlloc_v2`). Names for per-thread default streams (`_ptds`, `_ptsz`) are left out: nothing here uses them.

The test driver may export no other function (`kernels/emulator/tests/exports.rs`). cudarc looks a function up when it
is first called and panics where there is none, so a call of a newer function fails in our tests instead of on the
machine of someone with an older driver.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "nvidia-cuda-runtime-cu12==12.1.105"
HEADER = "nvidia/cuda_runtime/include/cuda.h"
LIST = Path(__file__).resolve().parent / "r530_functions.txt"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the committed list differs")
    arguments = parser.parse_args()
    found = "\n".join(sorted(functions(header()))) + "\n"
    if not arguments.check:
        LIST.write_text(found)
    elif LIST.read_text() != found:
        print(f"{LIST.name} is not what cuda.h of {WHEEL} declares; run list_r530.py without --check", file=sys.stderr)
        return 1
    return 0


def header() -> str:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        # A wheel for Linux, on whatever machine this runs.
        command += ["--platform", "manylinux1_x86_64", "--only-binary", ":all:", "--dest", folder, WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        return zipfile.ZipFile(wheel).read(HEADER).decode()


def functions(text: str) -> set[str]:
    declared = re.findall(r"CUDAAPI\s+(cu[A-Z]\w*)\s*\(", text)
    renamed = re.findall(r"#\s*define\s+cu[A-Z]\w*\s+(?:__CUDA_API_PT(?:DS|SZ)\()?(cu[A-Z]\w*)", text)
    return {name for name in [*declared, *renamed] if not name.endswith(("_ptds", "_ptsz"))}


if __name__ == "__main__":
    sys.exit(main())
