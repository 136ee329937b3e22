"""Results in MLflow and in Weights & Biases, as their own clients read them. Skipped where these are not installed."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import records

import clr_run


def test_mlflow_has_a_run_of_each_trial_with_settings_rows_and_evaluations(finished: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="SKIPPED: mlflow is not installed")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    out = clr_run.read(finished)
    made = clr_run.to_mlflow(out, client=client, every=10)
    assert len(made) == 6
    experiment = client.get_experiment_by_name("bowl")
    runs = {run.data.tags["clr_run.trial"]: run for run in client.search_runs([experiment.experiment_id])}
    for trial in out.ranked():
        run = runs[trial.id]
        assert run.info.status == "FINISHED" and run.info.run_name == trial.label
        assert run.data.tags["clr_run.status"] == trial["status"]
        assert run.data.params["policy"] == trial["policy"] and float(run.data.params["base_lr"]) == trial["base_lr"]
        rows = [row for row in records(trial.metrics()) if row["iteration"] % 10 == 0]
        for metric in ("loss", "lr"):
            history = sorted((it.step, it.value) for it in client.get_metric_history(run.info.run_id, metric))
            assert history == [(row["iteration"], row[metric]) for row in rows if row[metric] is not None]
        history = sorted((it.step, it.value) for it in client.get_metric_history(run.info.run_id, "test/accuracy"))
        assert history == [(row["iteration"], row["accuracy"]) for row in records(trial.evals())]
    assert clr_run.to_mlflow(finished, client=client) == [], "they are there already"


def test_wandb_has_a_run_of_each_trial_offline(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="SKIPPED: wandb is not installed")
    out = clr_run.read(finished)
    made = clr_run.to_wandb(out, project="policies", every=10, dir=tmp_path)
    assert sorted(made) == sorted(trial.id for trial in out.ranked())
    best = out.best()
    (folder,) = (tmp_path / "wandb").glob(f"offline-run-*-{best.id}")
    found = stored(folder / f"run-{best.id}.wandb")
    assert found["run"] == {"project": "policies", "group": "bowl", "name": best.label}
    assert found["config"]["policy"] == best["policy"] and found["config"]["base_lr"] == best["base_lr"]
    rows = {row["iteration"]: row for row in records(best.metrics()) if row["iteration"] % 10 == 0}
    assert {step: it["loss"] for step, it in found["history"].items() if "loss" in it} == {
        step: row["loss"] for step, row in rows.items()
    }
    accuracies = {row["iteration"]: row["accuracy"] for row in records(best.evals())}
    assert {step: it["test/accuracy"] for step, it in found["history"].items() if "test/accuracy" in it} == accuracies
    assert found["summary"]["best_test_accuracy"] == best["best_test_accuracy"]


def logged(file: bytes) -> Iterator[bytes]:
    """The records of a file in the form of LevelDB's log: pieces in blocks of 32 KiB, after a header of seven bytes."""
    assert file[:4] == b":W&B"
    place, record, block = 7, b"", 1 << 15
    while place + 7 <= len(file):
        left = block - place % block
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", file, place)
        record += file[place + 7 : place + 7 + length]
        place += 7 + length
        # One piece, or the last of several.
        if kind in (1, 4):
            yield record
            record = b""


def stored(path: Path) -> dict[str, Any]:
    """What a file of wandb holds, in wandb's own messages."""
    from wandb.proto import wandb_internal_pb2

    found: dict[str, Any] = {"history": {}, "config": {}, "summary": {}}
    for data in logged(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            found["run"] = {"project": record.run.project, "group": record.run.run_group, "name": record.run.display_name}
            found["config"] = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if record.HasField("history"):
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            found["history"][row["_step"]] = row
        if record.HasField("summary"):
            for item in record.summary.update:
                found["summary"][item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    return found
