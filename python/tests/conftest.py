"""Runs of the installed program, which all tests read."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest

import clr_run

# Six trials of the quickest plugin, two of which diverge.
BOWL: dict[str, Any] = {
    "experiment": {"name": "bowl", "seeds": [1, 2]},
    "model": {"plugin": "quadratic", "architecture": "quadratic", "noise": 0.5},
    "data": {"dataset": "shapes", "batch_size": 7},
    "train": {"iterations": 30, "eval_every": 10},
    "policies": {
        "triangular": {"kind": "triangular", "base_lr": 0.01, "max_lr": 0.1, "step_size": 5},
        "hot": {"kind": "fixed", "base_lr": 1e6, "optimizers": ["gd"]},
    },
    "optimizers": {
        "sgd": {"kind": "sgd", "momentum": {"kind": "triangular", "base": 0.95, "max": 0.85, "step_size": 5}},
        "gd": {"kind": "gd"},
    },
}


@pytest.fixture
def bowl() -> dict[str, Any]:
    """A spec that a test may change."""
    return copy.deepcopy(BOWL)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has ended."""
    return clr_run.run(BOWL, outputs=tmp_path_factory.mktemp("outputs"), progress=False).folder


@pytest.fixture(params=["polars", "pandas"])
def library(request: pytest.FixtureRequest) -> str:
    """Each library for frames that is installed."""
    name: str = request.param
    if any(importlib.util.find_spec(it) is None for it in ([name] if name == "polars" else [name, "pyarrow"])):
        pytest.skip(f"SKIPPED: {name} is not installed")
    return name


def records(frame: Any) -> list[dict[str, Any]]:
    """A frame's rows as dicts, with None for what is null, whichever library it is of."""
    if hasattr(frame, "collect"):
        frame = frame.collect()
    if hasattr(frame, "to_dicts"):
        rows: list[dict[str, Any]] = frame.to_dicts()
        return rows
    rows = frame.astype(object).to_dict("records")
    return [{name: None if it is None or it != it else it for name, it in row.items()} for row in rows]
