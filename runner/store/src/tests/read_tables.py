"""Mean test accuracy by policy and optimizer, three times over: with polars, pandas and DuckDB.

    pip install polars pandas pyarrow duckdb
    python read_tables.py outputs/NAME

Prints `policy optimizer mean` lines, and fails if the libraries disagree or if a filter over the metrics gives what it
should not. The functions are the snippets of the documentation.
"""

import sys

import duckdb
import pandas
import polars


def with_polars(run):
    trials = polars.read_parquet(f"{run}/trials.parquet")
    means = trials.group_by("policy", "optimizer").agg(polars.col("final_test_accuracy").cast(polars.Float64).mean())
    return {(policy, optimizer): mean for policy, optimizer, mean in means.iter_rows()}


def with_pandas(run):
    trials = pandas.read_parquet(f"{run}/trials.parquet")
    means = trials.groupby(["policy", "optimizer"], observed=True)["final_test_accuracy"].mean()
    return means.to_dict()


def with_duckdb(run):
    query = f"SELECT policy, optimizer, avg(final_test_accuracy) FROM '{run}/trials.parquet' GROUP BY ALL"
    return {(policy, optimizer): mean for policy, optimizer, mean in duckdb.sql(query).fetchall()}


def is_missing(mean):
    return mean is None or mean != mean


def check_metrics(run):
    """Filters, statistics and joins over the big tables, in each library."""
    lazy = polars.scan_parquet(f"{run}/metrics/*.parquet")
    frame = pandas.read_parquet(f"{run}/metrics")
    table = f"'{run}/metrics/*.parquet'"

    rows = lazy.filter((polars.col("policy") == "triangular") & (polars.col("seed") == 1)).collect()
    counts = {
        rows.height,
        int(((frame.policy == "triangular") & (frame.seed == 1)).sum()),
        duckdb.sql(f"SELECT count(*) FROM {table} WHERE policy = 'triangular' AND seed = 1").fetchall()[0][0],
    }
    assert len(counts) == 1 and rows.height > 0, counts

    # No NaN anywhere: a mean over everything is a number, and the rows that diverged are counted by a filter.
    lowest = {
        lazy.select(polars.col("loss").min()).collect().item(),
        float(frame.loss.min()),
        duckdb.sql(f"SELECT min(loss) FROM {table}").fetchall()[0][0],
    }
    highest = {
        lazy.select(polars.col("loss").max()).collect().item(),
        float(frame.loss.max()),
        duckdb.sql(f"SELECT max(loss) FROM {table}").fetchall()[0][0],
    }
    assert len(lowest) == 1 and len(highest) == 1, (lowest, highest)
    diverged = {
        lazy.filter("diverged").select(polars.len()).collect().item(),
        int(frame.diverged.sum()),
        duckdb.sql(f"SELECT count(*) FROM {table} WHERE diverged").fetchall()[0][0],
    }
    assert len(diverged) == 1 and diverged != {0}, diverged
    assert lazy.select(polars.col("loss").is_nan().any()).collect().item() is False

    # Hyper-parameters that an optimizer lacks are null, and sorted by (trial, iteration) they come as they went in.
    assert set(frame.optimizer[frame.beta1.notna()].unique()) == {"adam"}
    assert (frame.groupby("trial", sort=False, observed=True).iteration.diff().dropna() == 1).all()

    # The tables join on `trial`, in whatever library.
    trials = polars.scan_parquet(f"{run}/trials.parquet").select("trial", "status")
    joined = lazy.join(trials, on="trial").select(polars.len()).collect().item()
    merged = frame.merge(pandas.read_parquet(f"{run}/trials.parquet")[["trial", "status"]], on="trial")
    query = f"SELECT count(*) FROM {table} JOIN '{run}/trials.parquet' USING (trial)"
    assert joined == len(merged) == len(frame) == duckdb.sql(query).fetchall()[0][0]

    evals = polars.scan_parquet(f"{run}/evals/*.parquet").filter(polars.col("split") == "test").collect()
    assert evals.height == len(pandas.read_parquet(f"{run}/evals").query("split == 'test'"))
    assert evals.height == duckdb.sql(
        f"SELECT count(*) FROM '{run}/evals/*.parquet' WHERE split = 'test'"
    ).fetchall()[0][0]


def main(run):
    means = [read(run) for read in (with_polars, with_pandas, with_duckdb)]
    means = [{key: mean for key, mean in each.items() if not is_missing(mean)} for each in means]
    rounded = [{key: f"{mean:.4f}" for key, mean in each.items()} for each in means]
    assert rounded[0] == rounded[1] == rounded[2], rounded
    check_metrics(run)
    for (policy, optimizer), mean in sorted(rounded[0].items()):
        print(policy, optimizer, mean)


if __name__ == "__main__":
    main(sys.argv[1])
