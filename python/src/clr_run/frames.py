"""Rows of Parquet files as frames of polars or of pandas, whichever is there or asked for."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, cast

from clr_run.stored import Kind, Rows

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

Library = Literal["polars", "pandas"]

# Which rows: {"policy": "fixed", "seed": [1, 2]}, or [("loss", "<", 1.0), ("policy", "in", ["fixed"])], of which all must hold,
# or an expression of polars, or of pyarrow.compute for pandas.
Where = Union[Mapping[str, object], Sequence[tuple[str, str, object]], "pl.Expr", Any]

_OPERATORS = ("==", "=", "!=", "<", "<=", ">", ">=", "in", "not in")


def library(asked: Library | None) -> Library:
    """The library that was asked for, else polars where it is installed, else pandas."""
    if asked is not None and asked not in ("polars", "pandas"):
        raise ValueError(f"there are frames of 'polars' and of 'pandas', and none of {asked!r}")
    has = {name: importlib.util.find_spec(name) is not None for name in ("polars", "pandas", "pyarrow")}
    if has["polars"] and asked != "pandas":
        return "polars"
    if has["pandas"] and has["pyarrow"] and asked != "polars":
        return "pandas"
    if asked == "polars":
        raise ModuleNotFoundError("polars is not installed: pip install polars")
    missing = "polars, or pandas and pyarrow, are" if asked is None else "pandas or pyarrow is"
    raise ModuleNotFoundError(f"{missing} not installed: pip install {'polars' if asked is None else 'pandas pyarrow'}")


def conditions(where: Mapping[str, object] | Sequence[tuple[str, str, object]]) -> list[tuple[str, str, object]]:
    """Conditions as column, operator and value."""
    if isinstance(where, Mapping):
        return [(name, "in" if _is_list(value) else "==", value) for name, value in where.items()]
    found = []
    for condition in where:
        if isinstance(condition, str) or len(condition) != 3 or condition[1] not in _OPERATORS:
            known = ", ".join(_OPERATORS)
            raise ValueError(f"{condition!r} is no condition: expected (column, operator, value), with an operator of {known}")
        column, operator, value = condition
        found.append((column, "==" if operator == "=" else operator, value))
    return found


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset, range))


def check(names: Iterable[str], columns: Collection[str]) -> None:
    """Refuses names that are no columns."""
    for name in names:
        if name not in columns:
            near = difflib.get_close_matches(name, list(columns), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(columns)}"
            raise ValueError(f"there is no column {name!r}; {hint}")


def of_file(path: Path, columns: Sequence[str] | None, asked: Library) -> Any:
    """A file that is one table."""
    if asked == "polars":
        import polars as pl

        frame = pl.read_parquet(path, glob=False)
        check(columns or (), frame.columns)
        return frame.select(columns) if columns is not None else frame
    import pyarrow.parquet as pq

    check(columns or (), pq.read_schema(path).names)
    return pq.read_table(path, columns=None if columns is None else list(columns)).to_pandas()


def of_records(columns: Mapping[str, Kind], records: Sequence[Mapping[str, object]], asked: Library) -> Any:
    """A table in memory, a dict a row."""
    if asked == "polars":
        import polars as pl

        data = {name: [record[name] for record in records] for name in columns}
        series = {name: _series(pl, name, values, columns[name]) for name, values in data.items()}
        return pl.DataFrame(series)
    import pyarrow as pa

    return pa.table({name: _array([it[name] for it in records], kind) for name, kind in columns.items()}).to_pandas()


def of_rows(rows: Rows, columns: Sequence[str] | None, where: Where | None, asked: Library) -> Any:
    """Rows of several files in the order of the trials: lazy in polars."""
    check(columns or (), rows.columns)
    if asked == "polars":
        return _polars(rows, columns, where)
    return _pandas(rows, columns, where)


# polars


def _type(pl: Any, kind: Kind) -> Any:
    return {
        "category": pl.Categorical,
        "string": pl.String,
        "int64": pl.Int64,
        "double": pl.Float64,
        "float": pl.Float32,
        "bool": pl.Boolean,
    }[kind]


def _series(pl: Any, name: str, values: Sequence[object], kind: Kind) -> Any:
    text = pl.Series(name, values, pl.String) if kind == "category" else None
    return pl.Series(name, values, _type(pl, kind), strict=False) if text is None else text.cast(pl.Categorical)


def _polars(rows: Rows, columns: Sequence[str] | None, where: Where | None) -> pl.LazyFrame:
    import polars as pl

    def of_trials(names: Iterable[str]) -> pl.LazyFrame:
        known = {"trial": rows.trials, **{name: [rows.of_trials[name][it] for it in rows.trials] for name in names}}
        return pl.LazyFrame({name: _series(pl, name, values, rows.columns[name]) for name, values in known.items()})

    # Without any piece this says which columns there are.
    empty = pl.LazyFrame(schema={name: _type(pl, kind) for name, kind in rows.columns.items()})
    frames = [] if rows.pieces else [empty]
    for piece in rows.pieces:
        file = pl.scan_parquet(piece.path, glob=False)
        names = file.collect_schema().names()
        frame = file if piece.ranges is None else pl.concat([file.slice(*it) for it in piece.ranges])
        frame = frame.select(pl.col(name).cast(_type(pl, kind)) for name, kind in rows.columns.items() if name in names)
        lacking = [name for name in rows.columns if name not in names]
        known = [name for name in lacking if name in rows.of_trials]
        if known:
            frame = frame.join(of_trials(known), on="trial", how="left", maintain_order="left")
        frame = frame.with_columns(pl.lit(None, _type(pl, rows.columns[it])).alias(it) for it in lacking if it not in known)
        frames.append(frame.select(list(rows.columns)))
    frame = pl.concat(frames)
    if not rows.is_in_order:
        place = pl.col("trial").cast(pl.String).replace_strict(rows.trials, range(len(rows.trials)), return_dtype=pl.Int64)
        # Evaluations of one iteration stay in their order.
        frame = frame.sort(place, "iteration", maintain_order=True)
    if isinstance(where, pl.Expr):
        frame = frame.filter(where)
    elif where is not None:
        wanted = conditions(where)
        check((name for name, _, _ in wanted), rows.columns)
        frame = frame.filter(*(_expression(pl, *condition) for condition in wanted))
    frame = frame if columns is None else frame.select(columns)
    # Files of a run that goes on may be gone in a moment.
    return frame.collect().lazy() if rows.is_changing else frame


def _expression(pl: Any, name: str, operator: str, value: Any) -> Any:
    column = pl.col(name)
    if operator in ("in", "not in"):
        isin = column.is_in(list(value))
        return isin if operator == "in" else ~isin
    methods = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
    return getattr(column, methods[operator])(value)


# pandas


def _arrow(kind: Kind) -> Any:
    import pyarrow as pa

    plain = {"string": pa.string, "int64": pa.int64, "double": pa.float64, "float": pa.float32, "bool": pa.bool_}
    return pa.dictionary(pa.int32(), pa.string()) if kind == "category" else plain[kind]()


def _array(values: Sequence[object], kind: Kind) -> Any:
    import pyarrow as pa

    if kind == "category":
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, _arrow(kind))


def _pandas(rows: Rows, columns: Sequence[str] | None, where: Where | None) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = list(rows.columns if columns is None else columns)
    condition, tested = None, list[str]()
    if isinstance(where, pc.Expression):
        # It does not say which columns it is of.
        condition, tested = where, list(rows.columns)
    elif where is not None:
        triples = conditions(cast("list[tuple[str, str, object]]", where))
        condition, tested = _condition(rows, triples), [name for name, _, _ in triples]
    needed = list(dict.fromkeys([*wanted, *tested, "trial", "iteration"]))

    tables = [pa.table({name: _array([], rows.columns[name]) for name in needed})]
    trials = pa.array(rows.trials, pa.string())
    for piece in rows.pieces:
        names = set(pq.read_schema(piece.path).names)
        table = pq.ParquetFile(piece.path).read(columns=[name for name in needed if name in names])
        if piece.ranges is not None:
            table = pa.concat_tables([table.slice(*it) for it in piece.ranges])
        places = pc.index_in(table["trial"].cast(pa.string()), value_set=trials)
        found = []
        for name in needed:
            kind = rows.columns[name]
            if name in names:
                found.append(table[name].cast(_arrow(kind)))
            elif name in rows.of_trials:
                found.append(_array([rows.of_trials[name][it] for it in rows.trials], kind).take(places))
            else:
                found.append(pa.nulls(table.num_rows, _arrow(kind)))
        table = pa.table(found, names=needed)
        tables.append(table if condition is None else table.filter(condition))
    table = pa.concat_tables(tables).unify_dictionaries()
    if not rows.is_in_order:
        places = pc.index_in(table["trial"].cast(pa.string()), value_set=trials)
        # Evaluations of one iteration stay in their order.
        keys = pa.table({"trial": places, "iteration": table["iteration"], "row": pa.array(range(table.num_rows))})
        table = table.take(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))
    return table.select(wanted).to_pandas()


def _condition(rows: Rows, wanted: list[tuple[str, str, Any]]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    check((name for name, _, _ in wanted), rows.columns)
    found = pc.scalar(True)
    for name, operator, value in wanted:
        column = pc.field(name)
        if rows.columns[name] == "category":
            column = column.cast(pa.string())
        if operator in ("in", "not in"):
            isin = column.isin(list(value))
            one = isin if operator == "in" else ~isin
        else:
            one = {
                "==": column.__eq__,
                "!=": column.__ne__,
                "<": column.__lt__,
                "<=": column.__le__,
                ">": column.__gt__,
                ">=": column.__ge__,
            }[operator](value)
        found = found & one
    return found
