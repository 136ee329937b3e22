"""Training from Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import records

import clr_run
from clr_run import toml


def ids(out: clr_run.Output) -> list[str]:
    return [row["trial"] for row in records(out.trials(["trial"]))]


def test_a_dict_a_text_and_a_file_give_the_same_trials(bowl: dict[str, Any], tmp_path: Path, finished: Path) -> None:
    text = toml.dumps(bowl)
    (tmp_path / "spec.toml").write_text(text)
    expected = ids(clr_run.read(finished))
    assert len(expected) == 6
    for name, spec in {"text": text, "path": tmp_path / "spec.toml", "words": str(tmp_path / "spec.toml")}.items():
        assert ids(clr_run.run(spec, outputs=tmp_path / name, progress=False)) == expected


def test_the_output_is_where_it_was_asked_for_and_the_same_call_trains_nothing(
    bowl: dict[str, Any], tmp_path: Path, capfd: Any
) -> None:
    first = clr_run.run(bowl, outputs=tmp_path / "a b", progress=False)
    assert first.folder == tmp_path / "a b" / "bowl"
    assert capfd.readouterr() == ("", "")
    again = clr_run.run(bowl, outputs=tmp_path / "a b")
    shown = capfd.readouterr()
    assert "nothing to run" in shown.err and "started" not in shown.err and shown.out == ""
    assert ids(again) == ids(first)


def test_progress_is_shown(bowl: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    clr_run.run(bowl, outputs=tmp_path)
    # Through Python's own stream: what a notebook shows.
    assert capsys.readouterr().err.count("started   ") == 6


def test_keys_are_overridden(bowl: dict[str, Any], tmp_path: Path) -> None:
    given = {"train.iterations": 3, "policies.triangular.max_lr": [0.1, 0.2], "experiment.name": "other"}
    out = clr_run.run(bowl, outputs=tmp_path, set=given, progress=False, jobs=1)
    assert (out.name, out.folder.name) == ("other", "other")
    assert {row["iterations"] for row in records(out.trials())} == {3}
    assert {row["max_lr"] for row in records(out.trials())} == {0.1, 0.2, None}


def test_what_is_wrong_with_a_spec_is_said_in_the_program_s_words_and_nothing_is_trained(
    bowl: dict[str, Any], tmp_path: Path
) -> None:
    bowl["train"]["iteration"] = bowl["train"].pop("iterations")
    with pytest.raises(clr_run.BadInput) as caught:
        clr_run.run(bowl, outputs=tmp_path / "outputs")
    assert caught.value.exit_code == 2 and caught.value.output is None
    message = str(caught.value)
    assert "error[spec::key]: unknown key `iteration`" in message and "did you mean `iterations`?" in message
    assert "iteration = 30" in message, "the line of the spec"
    assert not (tmp_path / "outputs").exists()
    with pytest.raises(clr_run.BadInput, match=r"there is no file .*missing\.toml"):
        clr_run.run(tmp_path / "missing.toml")


def test_what_a_dict_names_is_looked_for_in_the_current_folder(bowl: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rates.csv").write_text("iteration,lr\n0,0.5\n10,0.25\n")
    bowl["policies"] = {"replayed": {"kind": "table", "file": "rates.csv"}}
    out = clr_run.run(bowl, progress=False)
    assert out.folder == Path("outputs/bowl")
    rates = [row["lr"] for row in records(out.best().metrics(["lr"]))]
    assert rates == [0.5] * 10 + [0.25] * 20


def test_a_run_with_failed_trials_is_an_error_that_has_the_output(bowl: dict[str, Any], tmp_path: Path) -> None:
    bowl["train"]["iterations"] = 1_000_000
    del bowl["policies"]["hot"]
    bowl["limits"] = {"time": "0.01 s"}
    with pytest.raises(clr_run.TrialsFailed) as caught:
        clr_run.run(bowl, outputs=tmp_path)
    assert caught.value.exit_code == 1
    assert "failed    triangular sgd seed=1" in str(caught.value) and "started" not in str(caught.value)
    out = caught.value.output
    assert out is not None and {row["status"] for row in records(out.trials(["status"]))} == {"failed"}


def test_ctrl_c_ends_a_run_with_care_and_the_same_call_goes_on(bowl: dict[str, Any], tmp_path: Path) -> None:
    bowl["train"]["iterations"] = 40_000
    script = f"import clr_run; clr_run.run({bowl!r}, outputs={str(tmp_path)!r}, jobs=1)"
    child = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("started"):
            break
    # As a terminal does: to Python, and to what it started.
    os.killpg(child.pid, signal.SIGINT)
    said = child.stderr.read()
    child.wait()
    assert "stopped   " in said and said.rstrip().endswith("KeyboardInterrupt"), said
    out = clr_run.read(tmp_path / "bowl")
    assert out.status()["state"] != "running"
    assert "unfinished" in {row["status"] for row in records(out.trials(["status"]))}
    whole = clr_run.run(bowl, outputs=tmp_path, progress=False)
    assert {row["status"] for row in records(whole.trials(["status"]))} == {"finished", "diverged"}


def test_the_readme_s_spec_is_valid(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    block = readme.split("spec = {", 1)[1].split("\n}\n", 1)[0]
    spec = eval(textwrap.dedent("{" + block + "}"))
    (tmp_path / "spec.toml").write_text(toml.dumps(spec))
    clr_run.program.call(["check", tmp_path / "spec.toml"])
