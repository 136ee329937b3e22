"""Reading what a run wrote, with polars and with pandas."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import records

import clr_run


def triangular(step: int, base: float, top: float, step_size: int) -> float:
    """Smith 2017, section 3.2."""
    cycle = 1 + step // (2 * step_size)
    x = abs(step / step_size - 2 * cycle + 1)
    return base + (top - base) * max(0.0, 1 - x)


def test_trials_are_those_of_the_file(finished: Path, library: Any) -> None:
    trials = clr_run.read(finished, as_=library).trials()
    assert type(trials).__module__.split(".")[0] == library
    rows = records(trials)
    assert [(row["policy"], row["optimizer"], row["seed"], row["status"]) for row in rows] == [
        (policy, optimizer, seed, "diverged" if policy == "hot" else "finished")
        for policy, optimizer in [("triangular", "sgd"), ("triangular", "gd"), ("hot", "gd")]
        for seed in (1, 2)
    ]
    assert {row["policy.step_size"] for row in rows} == {5.0, None}
    chosen = records(clr_run.read(finished).trials(["rows", "label"], as_=library))
    assert chosen[0] == {"rows": 30, "label": "triangular sgd seed=1"} and len(chosen) == 6


def test_metrics_are_all_rows_in_order(finished: Path, library: Any) -> None:
    out = clr_run.read(finished, as_=library)
    rows = records(out.metrics())
    lengths = {row["trial"]: row["rows"] for row in records(out.trials())}
    assert [(row["trial"], row["iteration"]) for row in rows] == [
        (trial, iteration) for trial, count in lengths.items() for iteration in range(count)
    ]
    for row in rows:
        if row["policy"] == "triangular":
            assert row["lr"] == pytest.approx(triangular(row["iteration"], 0.01, 0.1, 5), rel=1e-12)
    assert sum(row["diverged"] for row in rows) == 2


def test_metrics_are_lazy_in_polars(finished: Path) -> None:
    pl = pytest.importorskip("polars", reason="SKIPPED: polars is not installed")
    frame = clr_run.read(finished, as_="polars").metrics()
    assert isinstance(frame, pl.LazyFrame)
    assert "PARQUET SCAN" in frame.explain().upper()
    found = frame.filter(pl.col("policy") == "hot").select(pl.len()).collect().item()
    assert found == 8


def test_columns_and_conditions_choose(finished: Path, library: Any) -> None:
    out = clr_run.read(finished, as_=library)
    everything = records(out.metrics())

    def check(where: Any, holds: Any) -> None:
        found = records(out.metrics(["iteration", "loss"], where))
        assert found == [{"iteration": row["iteration"], "loss": row["loss"]} for row in everything if holds(row)]
        assert found

    check(None, lambda row: True)
    check({"policy": "hot"}, lambda row: row["policy"] == "hot")
    check({"policy": "triangular", "seed": [2, 3]}, lambda row: row["policy"] == "triangular" and row["seed"] == 2)
    check([("iteration", "<", 3)], lambda row: row["iteration"] < 3)
    check([("optimizer", "!=", "sgd"), ("iteration", ">=", 2)], lambda row: row["optimizer"] != "sgd" and row["iteration"] >= 2)
    check([("policy", "not in", ["hot"]), ("iteration", "=", 4)], lambda row: row["policy"] != "hot" and row["iteration"] == 4)
    check([("iteration", "in", range(2)), ("iteration", "<=", 0)], lambda row: row["iteration"] == 0)
    check([("iteration", ">", 28)], lambda row: row["iteration"] > 28)
    assert list(records(out.metrics(["loss", "lr"]))[0]) == ["loss", "lr"], "in the order that was asked for"


def test_a_condition_may_be_an_expression(finished: Path) -> None:
    out = clr_run.read(finished)
    pl = pytest.importorskip("polars", reason="SKIPPED: polars is not installed")
    assert len(records(out.metrics(where=pl.col("iteration") + 1 > 29, as_="polars"))) == 4
    pc = pytest.importorskip("pyarrow.compute", reason="SKIPPED: pyarrow is not installed")
    assert len(records(out.metrics(["loss"], where=pc.field("iteration") > 28, as_="pandas"))) == 4


def test_what_is_no_column_or_condition_is_refused(finished: Path, library: Any) -> None:
    out = clr_run.read(finished, as_=library)
    for read in (out.metrics, out.evals, out.trials):
        with pytest.raises(ValueError, match="there is no column 'polcy'; did you mean 'policy'"):
            read(["polcy"])
    with pytest.raises(ValueError, match="there is no column 'zzz'; there are trial, "):
        records(out.metrics(where={"zzz": 1}))
    with pytest.raises(ValueError, match="is no condition: expected"):
        records(out.metrics(where=[("loss", "~", 1)]))
    with pytest.raises(ValueError, match="frames of 'polars' and of 'pandas'"):
        clr_run.read(finished, as_="spark")  # type: ignore[arg-type]


def test_evaluations(finished: Path, library: Any) -> None:
    out = clr_run.read(finished, as_=library)
    rows = records(out.evals(where={"policy": "triangular"}))
    assert [row["iteration"] for row in rows] == 4 * [0, 10, 20, 30]
    assert {row["split"] for row in rows} == {"test"}
    last = {row["trial"]: row["accuracy"] for row in rows}
    finals = {row["trial"]: row["final_test_accuracy"] for row in records(out.trials()) if row["status"] == "finished"}
    assert last == finals


def test_the_best_trial_is_the_first_that_the_program_lists(finished: Path, library: Any) -> None:
    out = clr_run.read(finished, as_=library)
    shown = clr_run.run(finished / "spec.toml", outputs=finished.parent, progress=False, as_=library)
    assert shown.folder == finished
    listed = clr_run.program.call([finished / "spec.toml", "--outputs", finished.parent]).splitlines()
    handles = [line.split()[0] for line in itertools.takewhile(lambda line: not line.startswith("6 trials"), listed[1:])]
    assert [trial.id[:4] for trial in out.ranked()] == handles
    best = out.best()
    assert best.id[:4] == handles[0] and best["policy"] == "triangular" and best["best_test_accuracy"] == 0.875
    assert records(best.metrics(["trial"])) == [{"trial": best.id}] * 30
    assert out.best("final_train_loss")["final_train_loss"] == min(
        row["final_train_loss"] for row in records(out.trials()) if row["final_train_loss"] is not None
    )
    assert out.best("iterations", lowest=True).label == "triangular sgd seed=1", "the first of equal ones"


def test_a_trial_is_named_by_its_label_or_the_first_digits_of_its_id(finished: Path) -> None:
    out = clr_run.read(finished)
    trial = out.trial("hot gd seed=2")
    assert out.trial(trial.id[:6]).label == "hot gd seed=2"
    assert len(records(trial.metrics())) == 4
    with pytest.raises(KeyError, match="no trial is named 'cold'"):
        out.trial("cold")
    ids = sorted(it.id for it in out.ranked())
    first = next(one[0] for one, other in itertools.combinations(ids, 2) if one[0] == other[0])
    with pytest.raises(KeyError, match=f"'{first}' names [2-6] trials: "):
        out.trial(first)


def test_weights_are_those_that_export_writes(finished: Path, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy", reason="SKIPPED: numpy is not installed")
    out = clr_run.read(finished)
    trial = out.trial("triangular sgd seed=1")
    weights = trial.weights()
    clr_run.program.call(["export", finished, "--trial", trial.id, "--format", "npz", "--out", tmp_path / "w.npz"])
    with numpy.load(tmp_path / "w.npz") as exported:
        assert sorted(weights) == sorted(exported.files) and weights
        assert all((weights[name] == exported[name]).all() for name in weights)
    with pytest.raises(clr_run.ClrRunError, match="diverged, and has no last weights"):
        out.weights("hot gd seed=1")


def test_compare_has_the_program_s_numbers_and_words(finished: Path, library: Any) -> None:
    stats = pytest.importorskip("statistics")
    out = clr_run.read(finished, as_=library)
    found = out.compare(by="optimizer", reference="gd")
    assert found["by"] == "optimizer" and found["reference"] == "gd"
    assert found.answers[0].startswith("triangular: nothing is shown to be better than gd")
    assert str(found).startswith("final accuracy on test")
    rows = {row["optimizer"]: row for row in records(found.table()) if row["policy"] == "triangular"}
    trials = records(out.trials())
    finals = {
        name: [row["final_test_accuracy"] for row in trials if row["optimizer"] == name and row["policy"] == "triangular"]
        for name in ("sgd", "gd")
    }
    assert rows["gd"]["verdict"] == "reference" and rows["gd"]["n"] == 2
    assert rows["gd"]["mean"] == pytest.approx(stats.mean(finals["gd"]))
    assert rows["sgd"]["difference"] == pytest.approx(stats.mean(a - b for a, b in zip(finals["sgd"], finals["gd"])))
    assert rows["sgd"]["low"] < rows["sgd"]["difference"] < rows["sgd"]["high"]
    with pytest.raises(clr_run.BadInput):
        out.compare(by="colour")


def test_status_and_verify(finished: Path) -> None:
    out = clr_run.read(finished)
    assert out.status()["counts"]["finished"] == 4
    assert "bowl" in out.verify(quick=True)
    assert "bit for bit" in out.verify()


def test_what_is_no_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not an output of clr-run"):
        clr_run.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not an output of clr-run"):
        clr_run.read(tmp_path / "missing")


def test_an_output_is_shown_in_a_notebook(finished: Path) -> None:
    out = clr_run.read(finished)
    assert "6 trials: 4 finished, 2 diverged" in repr(out)
    page = out._repr_html_()
    assert "triangular gd seed=1" in page and "87.50%" in page


def test_the_report_is_shown_in_a_notebook(finished: Path, tmp_path: Path) -> None:
    if "report" not in clr_run.program.call(["--help"]):
        pytest.skip("SKIPPED: this program has no `clr-run report`")
    report = clr_run.read(finished).report(tmp_path / "page.html")
    assert report.path == tmp_path / "page.html" and report._repr_html_().startswith("<iframe srcdoc=")


# Outputs that change


def edited(folder: Path, change: Any, to: Path) -> clr_run.Output:
    """A copy of an output with another manifest."""
    shutil.copytree(folder, to)
    path = to / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))
    return clr_run.read(to)


def test_only_the_rows_count_that_the_manifest_lists(finished: Path, tmp_path: Path, library: Any) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="SKIPPED: pyarrow is not installed, with which this test writes")
    pa = pytest.importorskip("pyarrow")
    whole = records(clr_run.read(finished, as_=library).metrics())
    ids = list(dict.fromkeys(row["trial"] for row in whole))
    folder = tmp_path / "output"

    def change(manifest: Any) -> None:
        # The first two trials go on: their rows are in two parts, the later one first, between rows that were done again.
        (file,) = [file for file in manifest["files"] if file.startswith("metrics/")]
        table = pq.read_table(finished / file)
        a, b = (table.filter(pa.compute.equal(table["trial"].cast(pa.string()), trial)) for trial in ids[:2])
        parts = {"1": [a.slice(20, 10), b.slice(0, 5), a.slice(10, 10)], "2": [b.slice(3, 9), a.slice(0, 10), b.slice(5, 7)]}
        for name, slices in parts.items():
            rows = pa.concat_tables(slices)
            (folder / "parts").mkdir(exist_ok=True)
            pq.write_table(rows, folder / "parts" / f"metrics-00000{name}.parquet")
            manifest["files"][f"parts/metrics-00000{name}.parquet"] = {"rows": rows.num_rows, "bytes": 0, "blake3": ""}
        one, two = "parts/metrics-000001.parquet", "parts/metrics-000002.parquet"
        segments = {ids[0]: [[two, 9, 10], [one, 15, 10]], ids[1]: [[one, 10, 5], [two, 19, 7]]}
        for trial, of_trial in segments.items():
            manifest["trials"][trial] = {"status": "unfinished", "attempts": 1, "numbers": {"rows": 0}}
            manifest["unfinished"][trial] = {"metrics": of_trial, "evals": []}
        manifest["runs"][-1]["ended"] = None

    edited(finished, change, folder)
    out = clr_run.read(folder, as_=library)
    lengths = {ids[0]: 20, ids[1]: 12}
    expected = [row for row in whole if row["iteration"] < lengths.get(row["trial"], 99)]
    assert records(out.metrics()) == expected
    assert records(out.metrics(unfinished=False)) == [row for row in expected if row["trial"] not in lengths]
    assert records(out.metrics(["loss"], {"trial": ids[1]})) == [{"loss": it["loss"]} for it in expected if it["trial"] == ids[1]]
    assert [(row["status"], row["rows"]) for row in records(out.trials())][:3] == [
        ("unfinished", 20),
        ("unfinished", 12),
        ("finished", 30),
    ]
    assert records(out.trial(ids[0]).metrics(["iteration"])) == [{"iteration": it} for it in range(20)]


def test_rows_of_before_a_grid_was_widened_have_the_new_axes(bowl: Any, finished: Path, tmp_path: Path, library: Any) -> None:
    bowl["policies"]["triangular"]["max_lr"] = [0.1, 0.2]
    wide = clr_run.run(bowl, outputs=tmp_path / "wide", progress=False, as_=library)
    # As the folder is just after the wider run has begun.
    shutil.copytree(finished, tmp_path / "output")
    shutil.copy(wide.folder / "plan.json", tmp_path / "output" / "plan.json")

    def begun(manifest: Any) -> None:
        manifest["runs"].append({**manifest["runs"][-1], "ended": None})

    edited(tmp_path / "output", begun, tmp_path / "begun")
    out = clr_run.read(tmp_path / "begun", as_=library)
    before = {row["trial"] for row in records(clr_run.read(finished).trials(["trial"]))}
    for read in ("metrics", "evals"):
        assert records(getattr(out, read)()) == [row for row in records(getattr(wide, read)()) if row["trial"] in before]
    known = ["trial", "policy", "max_lr", "label", "batch_size", "validation_count", "iterations", "scale", "max_loss", "dataset"]
    found = records(out.trials([*known, "status"]))
    assert [{name: row[name] for name in known} for row in found] == records(wide.trials(known))
    assert [row["status"] == "unfinished" for row in found] == [row["trial"] not in before for row in found]


def test_a_run_that_goes_on_shows_no_row_twice_and_none_is_missing(bowl: Any, tmp_path: Path, library: Any) -> None:
    # Checkpoints come after two seconds and later: it takes some more.
    bowl["train"].update(iterations=60_000, eval_every=5_000)
    done = threading.Event()

    def train() -> None:
        try:
            clr_run.run(bowl, outputs=tmp_path, progress=False, jobs=1)
        finally:
            done.set()

    thread = threading.Thread(target=train)
    thread.start()
    looks = 0
    while not done.is_set():
        if (tmp_path / "bowl" / "plan.json").exists():
            out = clr_run.read(tmp_path / "bowl", as_=library)
            frame = out.metrics(["trial", "iteration"])
            frame = frame.collect() if library == "polars" else frame
            of_trials: dict[str, list[int]] = {}
            for trial, iteration in zip(frame["trial"].to_list(), frame["iteration"].to_list()):
                of_trials.setdefault(trial, []).append(iteration)
            for iterations in of_trials.values():
                assert iterations == list(range(len(iterations)))
            looks += 1
    thread.join()
    assert looks > 0
    assert len(records(clr_run.read(tmp_path / "bowl").metrics(["iteration"], {"policy": "triangular"}))) == 4 * 60_000


def test_rows_of_trials_that_failed_are_apart(bowl: Any, tmp_path: Path, library: Any) -> None:
    out = clr_run.run(bowl, outputs=tmp_path, progress=False, as_=library)
    everything = records(out.metrics())
    ids = list(dict.fromkeys(row["trial"] for row in everything))

    def change(manifest: Any) -> None:
        manifest["trials"][ids[1]]["status"] = "failed"

    edited(out.folder, change, tmp_path / "failed")
    failed = clr_run.read(tmp_path / "failed", as_=library)
    assert {row["trial"] for row in records(failed.metrics())} == set(ids) - {ids[1]}
    rows = records(failed.metrics(failed=True))
    assert [{name: it for name, it in row.items() if name != "status"} for row in rows] == [
        it for it in everything if it["trial"] == ids[1]
    ]
    assert {row["status"] for row in rows} == {"failed"}
