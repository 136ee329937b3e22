"""The program `clr-run`: where it is, and calls of it."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clr_run.output import Output


class ClrRunError(RuntimeError):
    """The program ended with an error. The message is its own.

    `exit_code` is 1 where a trial failed or results could not be written, and 2 for bad input; `output` has what a run that
    failed has written all the same.
    """

    def __init__(self, message: str, exit_code: int, output: Output | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.output = output


class BadInput(ClrRunError):
    """The spec or the arguments are wrong, or nothing could run: exit code 2. Nothing was trained."""


class TrialsFailed(ClrRunError):
    """Some trial failed, crashed or was interrupted by the machine, or results could not be written: exit code 1."""


def error(message: str, exit_code: int, output: Output | None = None) -> ClrRunError:
    """The exception for an exit code."""
    kind = {1: TrialsFailed, 2: BadInput}.get(exit_code, ClrRunError)
    return kind(message.strip() or f"clr-run ended with {exit_code}", exit_code, output)


@functools.cache
def find_program() -> str:
    """The path of `clr-run`: the one that was installed with this package, else the first in `PATH`."""
    places: list[Path] = []
    try:
        installed = importlib.metadata.distribution("clr-run").files or []
        places += [Path(str(file.locate())) for file in installed if file.name == "clr-run" and file.parent.name == "bin"]
    except importlib.metadata.PackageNotFoundError:
        pass
    # `pip install --target FOLDER` moves the program to FOLDER/bin.
    places += [Path(__file__).parents[1] / "bin" / "clr-run", Path(sysconfig.get_path("scripts")) / "clr-run"]
    for place in places:
        if place.is_file() and os.access(place, os.X_OK):
            return str(place.resolve())
    found = shutil.which("clr-run")
    if found is None:
        raise FileNotFoundError(f"there is no program clr-run in {', '.join(map(str, places))} or in PATH")
    return found


def environment() -> dict[str, str]:
    """The environment of the program: this Python is the one that its plugins start, and no line is cut at the width of a terminal,
    which an interactive Python sets."""
    own = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return {"CLR_PYTHON": sys.executable, **own}


def call(arguments: Sequence[str | os.PathLike[str]]) -> str:
    """Runs a command to its end and returns what it printed. An exit code other than 0 is a `ClrRunError`."""
    command = [find_program(), *(os.fspath(argument) for argument in arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", env=environment())
    if done.returncode != 0:
        raise error(done.stderr or done.stdout, done.returncode)
    return done.stdout
