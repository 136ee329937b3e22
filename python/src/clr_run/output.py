"""What a run wrote: its trials, rows and evaluations as frames, and what the program says of them."""

from __future__ import annotations

import html
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from clr_run import frames
from clr_run.frames import Library, Where
from clr_run.program import call
from clr_run.stored import Stored, Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl

_T = TypeVar("_T")

# How often an output is looked at while a command replaces its files.
_LOOKS = 5


def read(folder: str | os.PathLike[str], *, as_: Library | None = None) -> Output:
    """The output of a run, such as `outputs/quickstart`. The run may still be going on.

    Frames are of polars where it is installed, else of pandas; `as_="pandas"` asks for those.

    >>> out = clr_run.read("outputs/quickstart")          # doctest: +SKIP
    >>> out.trials().group_by("policy").agg(pl.col("final_test_accuracy").mean())  # doctest: +SKIP
    """
    return Output(folder, as_=as_)


class Output:
    """The folder of a run.

    Nothing is kept in memory: each method reads what the files hold at that moment.
    """

    def __init__(self, folder: str | os.PathLike[str], *, as_: Library | None = None) -> None:
        self.folder = Path(folder)
        # Says so where it is no output, and where there is no library.
        Stored(self.folder)
        self._as = frames.library(as_)

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return str(Stored(self.folder).plan["name"])

    @property
    def spec(self) -> str:
        """The spec: TOML text that gives the same trials by itself."""
        return (self.folder / "spec.toml").read_text("utf-8")

    # Tables

    @overload
    def trials(self, columns: Sequence[str] | None = None, *, as_: Literal["polars"]) -> pl.DataFrame: ...
    @overload
    def trials(self, columns: Sequence[str] | None = None, *, as_: Literal["pandas"]) -> pd.DataFrame: ...
    @overload
    def trials(self, columns: Sequence[str] | None = None, *, as_: None = None) -> Any: ...

    def trials(self, columns: Sequence[str] | None = None, *, as_: Library | None = None) -> Any:
        """One row per trial: its axes, settings, status, final and best accuracy, in the order of the spec.

        While a run goes on, the settings `policy.KEY`, `optimizer.KEY` and `model.KEY` are missing, and `rows` of an unfinished
        trial counts the rows that `metrics` has of it.

        >>> out.trials()                                  # doctest: +SKIP
        >>> out.trials(["label", "final_test_accuracy"], as_="pandas")  # doctest: +SKIP
        """

        def look(stored: Stored) -> Any:
            if stored.is_summarized():
                return frames.of_file(self.folder / "trials.parquet", columns, self._library(as_))
            kinds, records = stored.summary()
            frames.check(columns or (), kinds)
            wanted = kinds if columns is None else {name: kinds[name] for name in columns}
            return frames.of_records(wanted, records, self._library(as_))

        return self._look(look)

    @overload
    def metrics(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        unfinished: bool = True,
        failed: bool = False,
        as_: Literal["polars"],
    ) -> pl.LazyFrame: ...
    @overload
    def metrics(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        unfinished: bool = True,
        failed: bool = False,
        as_: Literal["pandas"],
    ) -> pd.DataFrame: ...
    @overload
    def metrics(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        unfinished: bool = True,
        failed: bool = False,
        as_: None = None,
    ) -> Any: ...

    def metrics(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        unfinished: bool = True,
        failed: bool = False,
        as_: Library | None = None,
    ) -> Any:
        """One row per trial and iteration: learning rate and other hyper-parameters, loss, accuracy, gradient norm.

        With polars, it is a LazyFrame: only what `collect()` needs is read. `where` says which rows: a dict of columns and values,
        or conditions `(column, operator, value)` of which all must hold, or an expression of polars (for pandas: of
        pyarrow.compute).

        While a run goes on, rows are there up to each trial's last checkpoint, and each is there once;
        `unfinished=False` leaves out trials that have not ended. `failed=True` gives the rows of trials that failed or crashed
        instead, with their `status`; they are never among the others.

        >>> out.metrics(["policy", "iteration", "loss"], where={"seed": 1}).collect()  # doctest: +SKIP
        >>> out.metrics(where=[("policy", "in", ["fixed", "triangular"]), ("iteration", "<", 100)])  # doctest: +SKIP
        """
        return self._rows("metrics", columns, where, unfinished, failed, as_)

    @overload
    def evals(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        unfinished: bool = True,
        failed: bool = False,
        as_: Literal["polars"],
    ) -> pl.LazyFrame: ...
    @overload
    def evals(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        unfinished: bool = True,
        failed: bool = False,
        as_: Literal["pandas"],
    ) -> pd.DataFrame: ...
    @overload
    def evals(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        unfinished: bool = True,
        failed: bool = False,
        as_: None = None,
    ) -> Any: ...

    def evals(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        unfinished: bool = True,
        failed: bool = False,
        as_: Library | None = None,
    ) -> Any:
        """One row per trial and evaluation: loss and accuracy of a whole split. All else is as of `metrics`.

        >>> out.evals(where={"split": "test"}).collect()  # doctest: +SKIP
        """
        return self._rows("evals", columns, where, unfinished, failed, as_)

    def _rows(
        self,
        table: Table,
        columns: Sequence[str] | None,
        where: Where | None,
        unfinished: bool,
        failed: bool,
        as_: Library | None,
        only: str | None = None,
    ) -> Any:
        asked = self._library(as_)

        def look(stored: Stored) -> Any:
            rows = stored.rows(table, failed=failed, unfinished=unfinished, only=only)
            return frames.of_rows(rows, columns, where, asked)

        return self._look(look)

    def _library(self, as_: Library | None) -> Library:
        return self._as if as_ is None else frames.library(as_)

    def _look(self, look: Callable[[Stored], _T]) -> _T:
        """Looks again where a file is gone because a command has replaced it meanwhile."""
        for _ in range(_LOOKS - 1):
            before = Stored(self.folder)
            try:
                return look(before)
            except Exception:
                if Stored(self.folder).manifest == before.manifest:
                    raise
        return look(Stored(self.folder))

    # Trials

    def trial(self, name: str) -> Trial:
        """The trial with this label, or whose id begins with these digits.

        >>> out.trial("4f2a").metrics(["iteration", "loss"])  # doctest: +SKIP
        """
        found = [it for it in self._all() if it["label"] == name or (name and it.id.startswith(name))]
        if len(found) != 1:
            labels = ", ".join(it.label for it in found)
            raise KeyError(f"{name!r} names {len(found)} trials: {labels}" if found else f"no trial is named {name!r}")
        return found[0]

    def ranked(self, by: str | None = None, *, lowest: bool | None = None) -> list[Trial]:
        """Trials that have numbers, best first.

        As in the program's own table: by the highest accuracy on the validation split where a trial has one, else on test; then
        by the last accuracy; then by the training loss. `by` chooses a column of `trials` instead, and the highest value is best
        unless it is a loss or `lowest=True`.

        >>> [trial.label for trial in out.ranked()[:3]]   # doctest: +SKIP
        """
        trials = [it for it in self._all() if it["status"] in ("finished", "diverged", "unfinished")]
        if by is None:
            return sorted((it for it in trials if it["rows"]), key=_rank, reverse=True)
        frames.check([by], list(trials[0]) if trials else [])
        sign = 1.0 if (("loss" in by) if lowest is None else lowest) else -1.0
        # Ties stay in the order of the spec.
        return sorted((it for it in trials if it[by] is not None), key=lambda it: sign * float(it[by]))

    def best(self, by: str | None = None, *, lowest: bool | None = None) -> Trial:
        """The best trial, by the rule of `ranked`.

        >>> best = out.best()                             # doctest: +SKIP
        >>> best.label, best["max_lr"], best["best_test_accuracy"]  # doctest: +SKIP
        """
        ranked = self.ranked(by, lowest=lowest)
        if not ranked:
            raise LookupError(f"no trial of {self.folder} has {by or 'rows'} yet")
        return ranked[0]

    def _all(self) -> list[Trial]:
        frame = self.trials()
        if self._as == "polars":
            return [Trial(self, row) for row in frame.to_dicts()]
        # What is null is NaN in pandas.
        columns = {name: [None if it != it else it for it in frame[name].astype(object)] for name in frame.columns}
        return [Trial(self, dict(zip(columns, row))) for row in zip(*columns.values())]

    # What the program says

    def compare(
        self,
        *others: Output | str | os.PathLike[str],
        by: str | None = None,
        reference: str | None = None,
        split: str | None = None,
        target: float | None = None,
    ) -> Comparison:
        """Which policy is better, by how much, and whether that is beyond noise: `clr-run compare`.

        Differences are paired by seed. `by` compares another axis than the policies, `reference` is the value of it to compare
        with, `target` the accuracy for which iterations are counted; trials of `others` are taken together with these.

        >>> print(out.compare())                          # doctest: +SKIP
        >>> out.compare(by="max_lr", reference="0.005").table()  # doctest: +SKIP
        """
        folders = [self.folder, *(it.folder if isinstance(it, Output) else Path(it) for it in others)]
        options = {"--by": by, "--reference": reference, "--split": split, "--target": target}
        arguments = [str(it) for option, value in options.items() if value is not None for it in (option, value)]
        return Comparison(folders, arguments, self._as)

    def status(self) -> dict[str, Any]:
        """What runs, how fast, what is left and what failed: `clr-run status --json`.

        >>> out.status()["state"]                         # doctest: +SKIP
        'running'
        """
        found: dict[str, Any] = json.loads(call(["status", self.folder, "--json"]))
        return found

    def verify(self, *, quick: bool = False) -> str:
        """Proves the stored rows by training again, or with `quick` checks the files: `clr-run verify`.

        Returns what the program says; what cannot be proven is a `ClrRunError`.

        >>> print(out.verify(quick=True))                 # doctest: +SKIP
        """
        return call(["verify", self.folder, "--quiet", *(["--quick"] if quick else [])])

    def report(self, out: str | os.PathLike[str] | None = None) -> Report:
        """Writes a page that shows what came of the run, and shows it in a notebook: `clr-run report`.

        The file is `report.html` in the output's folder, or `out`. It opens in any browser, without network.

        >>> out.report().path                             # doctest: +SKIP
        PosixPath('outputs/quickstart/report.html')
        """
        call(["report", self.folder, *(["--out", out] if out is not None else [])])
        return Report(self.folder / "report.html" if out is None else Path(out))

    def weights(self, trial: str | Mapping[str, Any], *, best: bool = False) -> dict[str, np.ndarray[Any, Any]]:
        """A trial's weights as arrays of NumPy, by name: `clr-run export`.

        They are the last ones, or with `best` those at the best evaluation. Where they were not kept, the trial is trained again
        and its rows are compared with those that are stored.

        >>> weights = out.weights(out.best())             # doctest: +SKIP
        """
        import numpy as np

        name = trial if isinstance(trial, str) else str(trial["trial"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.npz"
            options = ["--quiet", *(["--best"] if best else [])]
            call(["export", self.folder, "--trial", name, "--format", "npz", "--out", path, *options])
            with np.load(path) as arrays:
                return dict(arrays)

    # For notebooks

    def __repr__(self) -> str:
        return f"<clr_run.Output {os.fspath(self.folder)!r}: {self._counts()}>"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(it.label)}</td><td>{_percent(_rank(it)[1])}</td></tr>" for it in self.ranked()[:10])
        head = f"<b>{html.escape(os.fspath(self.folder))}</b>: {html.escape(self._counts())}"
        return f"{head}<table><tr><th>best trials</th><th>best accuracy</th></tr>{rows}</table>"

    def _counts(self) -> str:
        stored = Stored(self.folder)
        statuses = [stored.status(trial["id"]) for trial in stored.trials]
        counts = ", ".join(f"{statuses.count(it)} {it}" for it in dict.fromkeys(statuses))
        return f"{len(statuses)} trials: {counts}"


class Trial(Mapping[str, Any]):
    """A trial: its row of `trials` as a mapping, and what belongs to it."""

    def __init__(self, output: Output, row: Mapping[str, Any]) -> None:
        self._output = output
        self._row = dict(row)

    def __getitem__(self, column: str) -> Any:
        return self._row[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    @property
    def id(self) -> str:
        """32 hexadecimal digits: a hash of all that was asked."""
        return str(self["trial"])

    @property
    def label(self) -> str:
        """The name for people, such as `triangular sgd seed=1`."""
        return str(self["label"])

    def metrics(self, columns: Sequence[str] | None = None, where: Where | None = None, *, as_: Library | None = None) -> Any:
        """The trial's rows of `Output.metrics`; of a trial that failed, those up to there."""
        return self._output._rows("metrics", columns, where, True, self._has_failed, as_, self.id)

    def evals(self, columns: Sequence[str] | None = None, where: Where | None = None, *, as_: Library | None = None) -> Any:
        """The trial's rows of `Output.evals`; of a trial that failed, those up to there."""
        return self._output._rows("evals", columns, where, True, self._has_failed, as_, self.id)

    def weights(self, *, best: bool = False) -> dict[str, np.ndarray[Any, Any]]:
        """As `Output.weights`."""
        return self._output.weights(self, best=best)

    @property
    def _has_failed(self) -> bool:
        return self["status"] in ("failed", "crashed")

    def __repr__(self) -> str:
        return f"<clr_run.Trial {self.id[:4]} {self.label!r}: {self['status']}>"


class Comparison(Mapping[str, Any]):
    """What `clr-run compare` found: every number of its JSON as a mapping, its words by `print`, its cells by `table`."""

    def __init__(self, folders: Sequence[Path], arguments: Sequence[str], as_: Library) -> None:
        self._command: list[str | os.PathLike[str]] = ["compare", *folders, *arguments]
        self._as = as_
        self._found: dict[str, Any] = json.loads(call([*self._command, "--json"]))

    def __getitem__(self, key: str) -> Any:
        return self._found[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def answers(self) -> list[str]:
        """The sentences that say what is better."""
        return [block["answer"] for block in self["blocks"]]

    def table(self, *, as_: Library | None = None) -> Any:
        """One row per cell: its axes, mean accuracy, difference from the reference as a fraction, its interval, p, verdict."""
        cells = [(block, cell) for block in self["blocks"] for cell in (block["reference"], *block["candidates"])]
        axes = list(dict.fromkeys(name for _, cell in cells for name in cell["axes"]))
        kinds: dict[str, Any] = {}
        for name in axes:
            values = [cell["axes"][name] for _, cell in cells if name in cell["axes"]]
            kinds[name] = "bool" if isinstance(values[0], bool) else "category" if isinstance(values[0], str) else "double"
            if kinds[name] == "double" and all(isinstance(it, int) for it in values):
                kinds[name] = "int64"
        kinds.update(mean="double", difference="double", low="double", high="double", n="int64", p="double", verdict="category")
        records = []
        for block, cell in cells:
            is_reference = cell is block["reference"]
            difference = cell.get("difference", {})
            low, high = difference.get("interval") or (None, None)
            records.append(
                {
                    **dict.fromkeys(axes),
                    **cell["axes"],
                    "mean": cell["accuracy"]["mean"],
                    "difference": difference.get("mean"),
                    "low": low,
                    "high": high,
                    "n": cell["accuracy"]["n"] if is_reference else difference.get("n"),
                    "p": cell.get("p_corrected"),
                    "verdict": "reference" if is_reference else cell["verdict"],
                }
            )
        return frames.of_records(kinds, records, self._as if as_ is None else frames.library(as_))

    def __str__(self) -> str:
        return call(self._command)

    def __repr__(self) -> str:
        return f"<clr_run.Comparison: {'; '.join(self.answers)}>"


class Report:
    """A page of HTML, shown by notebooks in a frame."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text("utf-8"))
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 80vh; border: 0"></iframe>'

    def __repr__(self) -> str:
        return f"<clr_run.Report {os.fspath(self.path)!r}>"


def _rank(trial: Mapping[str, Any]) -> tuple[bool, float, float, float]:
    """As the program ranks: `compare` in runner/store/src/summary.rs."""
    split = "validation" if trial["validation_count"] else "test"

    def or_worst(value: float | None, sign: float = 1.0) -> float:
        return float("-inf") if value is None else sign * value

    best, last = or_worst(trial[f"best_{split}_accuracy"]), or_worst(trial[f"final_{split}_accuracy"])
    return trial["status"] in ("finished", "diverged"), best, last, or_worst(trial["final_train_loss"], -1.0)


def _percent(accuracy: float) -> str:
    return "" if accuracy == float("-inf") else f"{100 * accuracy:.2f}%"
