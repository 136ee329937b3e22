"""Reads every table of an output with the oldest readers that runner/docs/results.md promises, and compares the number of rows."""

import pathlib
import sys

import duckdb
import polars as pl
import pyarrow.parquet as pq

output = pathlib.Path(sys.argv[1])
for table in ["metrics/*.parquet", "evals/*.parquet", "trials.parquet", "timings.parquet"]:
    files = sorted(output.glob(table))
    rows = sum(pl.read_parquet(file).height for file in files)
    by_arrow = sum(pq.read_table(file).num_rows for file in files)
    by_duckdb = duckdb.sql(f"select count(*) from '{output}/{table}'").fetchone()[0]
    print(f"{table}: {rows} rows by polars {pl.__version__}, {by_arrow} by pyarrow, {by_duckdb} by DuckDB {duckdb.__version__}")
    if not files or not rows == by_arrow == by_duckdb > 0:
        sys.exit("these are not equal")
