"""What an output holds: its plan, and which rows of which files are those of a trial.

`manifest.json` is the truth about that. A run that goes on has rows in `parts/`, some of them of trials that start over, and a
run whose grid is widened has tables that are about to be replaced; what the manifest lists is each row once, at any instant.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Table = Literal["metrics", "evals"]

# The kinds of columns, by the names of their types in Arrow: `category` is a dictionary of text.
Kind = Literal["category", "string", "int64", "double", "float", "bool"]

_KINDS: Mapping[str, Kind] = {"integer": "int64", "float": "double", "boolean": "bool", "text": "category"}

# The newest format of outputs that is known here: `FORMAT` in runner/store/src/names.rs.
_FORMAT = 2

# The columns that an axis leaves free: an axis of such a name is `axis_NAME`, as in runner/plan/src/columns.rs.
_ROW_COLUMNS = ("trial", "iteration", "epoch", "diverged")
_RESULTS: Mapping[str, Kind] = {
    "status": "category",
    "error": "string",
    "numerics": "category",
    "plugin_digest": "category",
    "rows": "int64",
    "diverged_at": "int64",
    "non_finite_losses": "int64",
    "first_non_finite_loss": "int64",
    "best_iteration": "int64",
    "best_split": "category",
    "final_train_loss": "double",
    "final_validation_loss": "float",
    "final_validation_accuracy": "float",
    "final_test_loss": "float",
    "final_test_accuracy": "float",
    "best_validation_accuracy": "float",
    "best_test_accuracy": "float",
}
_OTHER_COLUMNS = ("label", "split", "loss", "accuracy", "started", "seconds", "attempts", *_RESULTS)

# Settings of a trial that the plan has under their column's name.
_SETTINGS: Mapping[str, Kind] = {
    "plugin": "category",
    "architecture": "category",
    "dataset": "category",
    "batch_size": "int64",
    "accumulate": "int64",
    "train_count": "int64",
    "validation_count": "int64",
    "order": "category",
    "last_batch": "category",
    "normalize": "category",
    "scale": "double",
    "flip": "bool",
    "pad": "int64",
    "init_seed": "int64",
    "data_seed": "int64",
    "iterations": "int64",
    "stop_on_divergence": "bool",
    "max_loss": "double",
}

_DONE = ("finished", "diverged")
_FAILED = ("failed", "crashed")


@dataclass(frozen=True)
class Piece:
    """Rows of one file: all of them, or so many from a first one on, several times."""

    path: Path
    ranges: tuple[tuple[int, int], ...] | None


@dataclass(frozen=True)
class Rows:
    """The rows of some trials, and how they look."""

    pieces: list[Piece]
    # All columns, in order. What a file lacks of them is null, or known of the trial.
    columns: dict[str, Kind]
    # Columns that say the same in each row of a trial, by trial.
    of_trials: dict[str, dict[str, Any]]
    # All trials of the plan, in order.
    trials: list[str]
    # True if the pieces are in the order of the trials, one after the other.
    is_in_order: bool
    # True if a command is at work, so that files may be replaced at any time.
    is_changing: bool


class Stored:
    """An output's plan and manifest, as they were at one moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan: dict[str, Any] = _read(folder / "plan.json")
        self.manifest = self._manifest()
        self.trials: list[dict[str, Any]] = self.plan["trials"]

    def _manifest(self) -> dict[str, Any]:
        try:
            manifest = _read(self.folder / "manifest.json")
        except ValueError:
            # It ends with its own digest; a copy takes the place of one that is damaged.
            manifest = _read(self.folder / "manifest.backup.json")
        if not isinstance(manifest.get("format"), int) or manifest["format"] > _FORMAT:
            raise ValueError(f"{self.folder} has format {manifest.get('format')}; this version of clr_run reads up to {_FORMAT}")
        return manifest

    @property
    def is_changing(self) -> bool:
        """True if the last command has not noted its end: it is at work, or was killed."""
        runs = self.manifest["runs"]
        return bool(runs) and runs[-1].get("ended") is None

    def record(self, trial: str) -> dict[str, Any]:
        """What is known of a trial."""
        record: dict[str, Any] = self.manifest["trials"].get(trial, {})
        return record

    def status(self, trial: str) -> str:
        return str(self.record(trial).get("status", "unfinished"))

    def shape(self, trial: Mapping[str, Any]) -> dict[str, Any]:
        """What the trials of a group have in common."""
        group = trial.get("group")
        shape: dict[str, Any] = {"data": {}} if group is None else self.plan["groups"][group]["shape"]
        return shape

    def axes(self) -> dict[str, tuple[str, Kind]]:
        """The axes by the names of their columns: their names in the plan, and their kinds."""
        taken = {*_ROW_COLUMNS, *_OTHER_COLUMNS, *self._hypers(), *self._metrics()}
        axes: dict[str, tuple[str, Kind]] = {}
        for axis in self.plan["axes"]:
            name = axis["name"]
            while name in taken:
                name = f"axis_{name}"
            taken.add(name)
            axes[name] = (axis["name"], _KINDS[axis["kind"]])
        return axes

    def _hypers(self) -> list[str]:
        return list(dict.fromkeys(name for trial in self.trials for name in trial["schedules"]))

    def _metrics(self) -> list[str]:
        shapes = (group["shape"] for group in self.plan["groups"])
        return list(dict.fromkeys(name for shape in shapes for name in shape["metrics"]))

    def rows(self, table: Table, *, failed: bool, unfinished: bool, only: str | None = None) -> Rows:
        """The rows of trials: of those that failed, or else of those that are done and, if wanted, those that are not finished."""
        axes = self.axes()
        columns: dict[str, Kind] = {"trial": "category", **{name: kind for name, (_, kind) in axes.items()}}
        ids = [trial["id"] for trial in self.trials]
        of_trials = {name: {trial["id"]: trial["axes"].get(axis) for trial in self.trials} for name, (axis, _) in axes.items()}
        if failed:
            columns["status"] = "category"
            of_trials["status"] = {trial: self.status(trial) for trial in ids}
        columns.update({"iteration": "int64", "epoch": "double", **dict.fromkeys(self._hypers(), "double")})
        if table == "metrics":
            columns.update(dict.fromkeys(self._metrics(), "float"))
        else:
            columns.update({"split": "category", "loss": "float", "accuracy": "float"})
        columns["diverged"] = "bool"
        wanted = ids if only is None else [only]
        segments = [
            (file, first, count) for trial in wanted for file, first, count in self._segments(trial, table, failed, unfinished)
        ]
        pieces, is_in_order = self._pieces(segments)
        return Rows(pieces, columns, of_trials, ids, is_in_order, self.is_changing)

    def _segments(self, trial: str, table: Table, failed: bool, unfinished: bool) -> list[tuple[str, int, int]]:
        status = self.status(trial)
        segments: list[tuple[str, int, int]] = []
        if status in (_FAILED if failed else _DONE):
            segments = self.record(trial).get(table, [])
        elif unfinished and not failed and status == "unfinished":
            # Those up to the checkpoint that the trial goes on from.
            segments = self.manifest.get("unfinished", {}).get(trial, {}).get(table, [])
        return segments

    def _pieces(self, segments: Iterable[tuple[str, int, int]]) -> tuple[list[Piece], bool]:
        """The rows by file, and whether they are still in their order then."""
        by_file: dict[str, list[tuple[int, int]]] = defaultdict(list)
        is_in_order, last = True, None
        for file, first, count in segments:
            ranges = by_file[file]
            is_in_order &= file == last or not ranges
            if ranges and sum(ranges[-1]) == first:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + count)
            else:
                ranges.append((first, count))
            last = file
        files = self.manifest["files"]
        pieces = []
        for file, ranges in by_file.items():
            whole = [(0, files[file]["rows"])] == ranges
            pieces.append(Piece(self._locate(file), None if whole else tuple(ranges)))
        return pieces, is_in_order

    def _locate(self, file: str) -> Path:
        """Where a file is: beside its folder, for the moment in which a folder is replaced."""
        path = self.folder / file
        folder, _, name = file.partition("/")
        beside = (self.folder / f".{folder}.{which}" / name for which in ("new", "old"))
        return path if path.exists() else next((other for other in beside if other.exists()), path)

    def summary(self) -> tuple[dict[str, Kind], list[dict[str, Any]]]:
        """The columns and rows of `trials.parquet` while there is none, as far as the plan and the manifest have them."""
        axes = self.axes()
        columns: dict[str, Kind] = {"trial": "category", **{name: kind for name, (_, kind) in axes.items()}}
        columns["label"] = "string"
        columns.update({name: kind for name, kind in _SETTINGS.items() if name not in columns})
        columns.update(_RESULTS)
        rows = []
        for trial in self.trials:
            shape, record = self.shape(trial), self.record(trial["id"])
            settings = {**shape, **shape["data"], **trial}
            row = {name: settings.get(name) for name in _SETTINGS}
            row.update({name: trial["axes"].get(axis) for name, (axis, _) in axes.items()})
            row.update(record.get("numbers", {}))
            status = self.status(trial["id"])
            if status == "unfinished":
                row["rows"] = sum(count for _, _, count in self._segments(trial["id"], "metrics", False, True))
            is_validated = shape["data"].get("validation_count", 0) > 0
            row.update(
                trial=trial["id"],
                label=trial["label"],
                status=status,
                error=record.get("error"),
                numerics=record.get("numerics"),
                plugin_digest=record.get("build"),
                best_split=("validation" if is_validated else "test") if row.get("best_iteration") is not None else None,
            )
            rows.append({name: row.get(name) for name in columns})
        return columns, rows

    def is_summarized(self) -> bool:
        """True if `trials.parquet` is there and of this plan, and no command is at work on it."""
        return not self.is_changing and (self.folder / "trials.parquet").is_file()


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        folder = os.fspath(path.parent)
        raise FileNotFoundError(f"{folder} is not an output of clr-run: it has no {path.name}") from None
    value: dict[str, Any] = json.loads(text)
    return value
