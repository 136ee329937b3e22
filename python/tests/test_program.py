"""The program that is installed with the package."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import clr_run


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("CLR_PLUGIN_PATH", "PATH")}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_the_program_is_that_of_this_environment_and_finds_its_plugins() -> None:
    program = Path(clr_run.find_program())
    assert program.parent == Path(sysconfig.get_path("scripts")).resolve()
    listed = run(str(program), "plugin", "list")
    assert listed.returncode == 0, listed
    folder = program.parents[1] / "lib" / "clr-run" / "plugins"
    assert f"{folder / 'libclr_cifar.so'}\n  cifar10_quick" in listed.stdout, listed
    assert f"{folder / 'libclr_quadratic.so'}\n" in listed.stdout, listed


def test_python_m_is_the_program() -> None:
    version = run(sys.executable, "-m", "clr_run", "--version")
    assert (version.returncode, version.stdout) == (0, f"clr-run {clr_run.__version__}\n")
    assert run(sys.executable, "-m", "clr_run", "check", "missing.toml").returncode == 2


def test_plugins_start_this_python_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLR_PYTHON", raising=False)
    assert clr_run.program.environment()["CLR_PYTHON"] == sys.executable
    monkeypatch.setenv("CLR_PYTHON", "/other/python")
    assert clr_run.program.environment()["CLR_PYTHON"] == "/other/python"


def test_the_examples_are_valid(tmp_path: Path) -> None:
    for name in ("quickstart", "your-model"):
        checked = run(clr_run.find_program(), "check", str(clr_run.example(name)))
        assert checked.returncode == 0, checked


def test_an_example_that_is_not_there_is_refused_with_those_that_are() -> None:
    try:
        clr_run.example("quikstart")
    except FileNotFoundError as error:
        assert "there is no example 'quikstart'; there are " in str(error) and "quickstart" in str(error)
    else:
        raise AssertionError("it is not there")
