"""Puts the program, its plugins and example specs into the wheel, beside the package.

They are taken from the folder `CLR_RUN_BUILD`, such as `target/release` after `cargo build --release`, or built first where it
is not set, which needs Rust. In the wheel, the program is a script and the plugins are data, so that they are installed as
`PREFIX/bin/clr-run` and `PREFIX/lib/clr-run/plugins/libclr_*.so`, where the program looks for them.

With `CLR_RUN_GLIBC=2.17` they are linked anew with zig (`pip install ziglang cargo-zigbuild`) for systems with that glibc or a
later one, such as those of clusters. Only the last crate of each is compiled for that.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Binaries(BuildHookInterface):  # type: ignore[misc]
    """What `hatchling` asks before it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        workspace = Path(self.root).parent
        build = Path(os.environ.get("CLR_RUN_BUILD") or cargo_build(workspace))
        if glibc := os.environ.get("CLR_RUN_GLIBC"):
            link_for(glibc, workspace, build)
        program = build / "clr-run"
        plugins = sorted(path for path in build.iterdir() if re.fullmatch(r"libclr_\w+\.(so|dylib)", path.name))
        if not program.is_file() or not plugins:
            raise FileNotFoundError(f"{build} has no program or no plugins: `cargo build --release` makes them")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform([program, *plugins])}"
        build_data["shared_scripts"][str(program)] = "clr-run"
        for plugin in plugins:
            build_data["shared_data"][str(plugin)] = f"lib/clr-run/plugins/{plugin.name}"
        # Specs that need no download, or are a folder with all that they name.
        specs = workspace / "specs"
        for example in [specs / "quickstart.toml", *(spec.parent for spec in sorted(specs.glob("*/spec.toml")))]:
            build_data["force_include"][str(example)] = f"clr_run/specs/{example.name}"


def cargo_build(workspace: Path) -> Path:
    """Builds the program and its plugins."""
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=workspace, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    return workspace / target / "release"


def link_for(glibc: str, workspace: Path, build: Path) -> None:
    """Links the program and its plugins, which were built in release mode, for an old glibc."""
    described = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version=1"], cwd=workspace, check=True, stdout=subprocess.PIPE
    )
    libraries = [
        package["name"]
        for package in json.loads(described.stdout)["packages"]
        for target in package["targets"]
        if "cdylib" in target["crate_types"] and target["name"].startswith("clr_")
    ]
    targets = [["-p", "clr-run", "--bin", "clr-run"]]
    targets += [["-p", name, "--lib", "--crate-type", "cdylib"] for name in libraries]
    machine = sysconfig.get_platform().removeprefix("linux-")
    with tempfile.TemporaryDirectory() as folder:
        # What rustc takes for the compiler that links. cargo-zigbuild turns its options into those of zig.
        linker = Path(folder) / "zig-cc"
        linker.write_text(f'#!/bin/sh\nexec cargo-zigbuild zig cc -- -target {machine}-linux-gnu.{glibc} "$@"\n')
        linker.chmod(0o755)
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "CARGO_TARGET_DIR": str(build.resolve().parent)}
        for target in targets:
            command = ["cargo", "rustc", "--release", "--locked", *target, "--", "-C", f"linker={linker}"]
            subprocess.run(command, cwd=workspace, check=True, env=environment)


def platform(files: list[Path]) -> str:
    """The platform tag of the wheel: on Linux, the oldest glibc that has every symbol which the files need."""
    tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    if not tag.startswith("linux_"):
        return tag
    names = (re.findall(rb"\0GLIBC_2\.(\d+)", path.read_bytes()) for path in files)
    minor = max(int(found) for found_in in names for found in found_in)
    machine = tag.removeprefix("linux_")
    # The older name of the same, for older installers.
    also = f".manylinux2014_{machine}" if minor <= 17 else ""
    return f"manylinux_2_{max(minor, 17)}_{machine}{also}"
