"""Results for MLflow and for Weights & Biases, through the user's own client."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clr_run.output import Output, Trial

if TYPE_CHECKING:
    import mlflow

# The most that MLflow takes at once.
_BATCH = {"metrics": 1000, "params": 100}

# The tag by which a trial is known that was handed over before.
_TAG = "clr_run.trial"

# Columns that say where a row belongs, and are no measurement.
_PLACES = ("trial", "iteration", "epoch", "split", "diverged", "status")

# Of a trial's row: what it measured. All else that it has are settings.
_RESULTS = ("final_", "best_", "rows", "status", "error", "diverged_at", "non_finite", "first_non_finite")


def to_mlflow(
    output: Output | str | os.PathLike[str],
    *,
    experiment: str | None = None,
    client: mlflow.MlflowClient | None = None,
    every: int | None = None,
) -> list[str]:
    """Makes a run of MLflow of each trial that has ended, with its settings, rows and evaluations. Returns the runs' ids.

    The experiment has the output's name unless `experiment` names another. The client is that of `mlflow.set_tracking_uri`, or
    `client`. Trials that are in the experiment already are left out, so this can be called again as a run goes on. Of the rows,
    every one is handed over, or with `every=100` each hundredth; evaluations are always all there.

    >>> mlflow.set_tracking_uri("sqlite:///mlflow.db")    # doctest: +SKIP
    >>> clr_run.to_mlflow("outputs/quickstart", every=10)  # doctest: +SKIP
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    output = output if isinstance(output, Output) else Output(output)
    client = client or MlflowClient()
    name = experiment or output.name
    known = client.get_experiment_by_name(name)
    into = known.experiment_id if known is not None else client.create_experiment(name)
    made = []
    for trial in _ended(output):
        if client.search_runs([into], f"tags.`{_TAG}` = '{trial.id}' and attributes.status != 'RUNNING'", max_results=1):
            continue
        run = client.create_run(into, run_name=trial.label, tags={_TAG: trial.id, "clr_run.output": os.fspath(output.folder)})
        began = run.info.start_time
        params = [Param(key, str(value)) for key, value in _settings(trial).items()]
        metrics = [Metric(key, value, began, step) for step, values in _history(trial, every) for key, value in values.items()]
        for start in range(0, len(params), _BATCH["params"]):
            client.log_batch(run.info.run_id, params=params[start : start + _BATCH["params"]])
        for start in range(0, len(metrics), _BATCH["metrics"]):
            client.log_batch(run.info.run_id, metrics=metrics[start : start + _BATCH["metrics"]])
        client.log_batch(run.info.run_id, tags=[RunTag("clr_run.status", str(trial["status"]))])
        client.set_terminated(run.info.run_id, "FAILED" if trial["status"] in ("failed", "crashed") else "FINISHED")
        made.append(run.info.run_id)
    return made


def to_wandb(
    output: Output | str | os.PathLike[str],
    *,
    project: str | None = None,
    mode: str = "offline",
    every: int | None = None,
    dir: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Makes a run of Weights & Biases of each trial that has ended, with its settings, rows and evaluations. Returns the runs' ids,
    which are those of the trials.

    Nothing is sent unless `mode="online"`: `wandb sync` sends what is in the folder `wandb` then. The project has the output's name
    unless `project` names another. Of the rows, every one is handed over, or with `every=100` each hundredth; evaluations are
    always all there.

    >>> clr_run.to_wandb("outputs/quickstart", project="policies")  # doctest: +SKIP
    """
    import wandb

    output = output if isinstance(output, Output) else Output(output)
    made = []
    for trial in _ended(output):
        run = wandb.init(
            project=project or output.name,
            group=output.name,
            name=trial.label,
            id=trial.id,
            config=_settings(trial),
            mode=mode,
            dir=None if dir is None else os.fspath(dir),
            reinit="create_new",
        )
        for step, values in _history(trial, every):
            run.log(values, step=step)
        run.summary.update({key: value for key, value in trial.items() if key.startswith(_RESULTS) and value is not None})
        run.finish(exit_code=1 if trial["status"] in ("failed", "crashed") else 0)
        made.append(trial.id)
    return made


def _ended(output: Output) -> list[Trial]:
    return [trial for trial in output._all() if trial["status"] != "unfinished"]


def _settings(trial: Trial) -> dict[str, Any]:
    """All that was set for a trial and is not null."""
    left_out = ("trial", "label", "model_json", "optimizer_json")
    return {key: it for key, it in trial.items() if it is not None and key not in left_out and not key.startswith(_RESULTS)}


def _history(trial: Trial, every: int | None) -> Iterator[tuple[int, dict[str, float]]]:
    """What was measured, by iteration: a row's values by their names, those of an evaluation as `test/accuracy`."""
    steps: dict[int, dict[str, float]] = {}
    axes = set(trial)
    for row in _records(trial.metrics()):
        if row["iteration"] % (every or 1) == 0:
            steps.setdefault(row["iteration"], {}).update(_numbers(row, axes, ""))
    for row in _records(trial.evals()):
        values = {key: row[key] for key in ("loss", "accuracy")}
        steps.setdefault(row["iteration"], {}).update(_numbers(values, set(), f"{row['split']}/"))
    yield from sorted(steps.items())


def _records(frame: Any) -> list[dict[str, Any]]:
    if hasattr(frame, "collect"):
        records: list[dict[str, Any]] = frame.collect().to_dicts()
    else:
        records = frame.to_dict("records")
    return records


def _numbers(row: Mapping[str, Any], axes: set[str], prefix: str) -> dict[str, float]:
    wanted = ((key, it) for key, it in row.items() if key not in _PLACES and key not in axes and it is not None)
    return {f"{prefix}{key}": float(it) for key, it in wanted if math.isfinite(it)}
