"""Reads the same table of two outputs as one, with polars, pandas and DuckDB, none of them lenient about types.

    pip install polars pandas pyarrow duckdb
    python concat_outputs.py outputs/A outputs/B

Prints `table column type` for each column of both, and fails where a library cannot read the two together, or where their
columns of one name differ in type.
"""

import sys

import duckdb
import pandas
import polars
import pyarrow.dataset


def files(run, table):
    return f"{run}/{table}.parquet" if table == "trials" else f"{run}/{table}/*.parquet"


def check(table, runs):
    # how="diagonal" adds columns that one of the two lacks, and refuses columns of two types.
    frames = [polars.scan_parquet(files(run, table)).collect() for run in runs]
    both = polars.concat(frames, how="diagonal")

    paths = [f"{run}/trials.parquet" if table == "trials" else f"{run}/{table}" for run in runs]
    schemas = [pyarrow.dataset.dataset(path).schema for path in paths]
    for name in set(schemas[0].names) & set(schemas[1].names):
        types = {str(schema.field(name).type) for schema in schemas}
        assert len(types) == 1, (table, name, types)
    pandas_frames = [pandas.read_parquet(path) for path in paths]
    for name in set(pandas_frames[0].columns) & set(pandas_frames[1].columns):
        kinds = {frame[name].dtype.kind for frame in pandas_frames if frame[name].notna().all()}
        assert len(kinds) <= 1, (table, name, kinds)
    rows = len(pandas.concat(pandas_frames))

    globs = ", ".join(f"'{files(run, table)}'" for run in runs)
    counted = duckdb.sql(f"SELECT count(*) FROM read_parquet([{globs}], union_by_name = true)").fetchall()[0][0]
    assert both.height == rows == counted, (both.height, rows, counted)
    for run, frame in zip(runs, frames):
        described = duckdb.sql(f"DESCRIBE SELECT * FROM '{files(run, table)}'").fetchall()
        assert [row[0] for row in described] == frame.columns
    for name in both.columns:
        print(table, name, both.schema[name])


def main(runs):
    for table in ("trials", "metrics", "evals"):
        check(table, runs)


if __name__ == "__main__":
    main(sys.argv[1:])
