"""The committed results of the paper's experiments, and the tables that specs/README.md makes of them.

    python specs/results/results.py take outputs/NAME --machine "two cores of ..."   # an output into specs/results/NAME
    python specs/results/results.py page                                             # specs/README.md's tables and table1.svg anew
    python specs/results/results.py page --check                                     # fails where they are not up to date

`take` makes an excerpt of the output (`clr-run export --format excerpt`): everything but the rows of metrics. So each folder here
is an output that `clr-run status`, `compare` and `verify` read. Of the rows of metrics, `losses.parquet` keeps one for every 100
iterations: the learning rate at the first of them, and the mean, least and largest training loss of all of them. `machine.json`
says on what it was trained. Needs polars, and the program.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import polars as pl

from picture import draw

RESULTS = pathlib.Path(__file__).parent
PAGE = RESULTS.parent / "README.md"
STRETCH = 100  # iterations that one row of losses.parquet stands for
LIMIT = 1 << 20  # bytes of one experiment

# Smith 2017 (arXiv 1506.01186v6): accuracy in percent by policy.
TABLE_1 = {"fixed": 81.4, "triangular2": 81.4, "decay": 78.5, "exp": 79.1, "exp_range": 82.2}
FIGURE_6 = {"fixed": 60.8, "triangular": 72.2}


def take(output: pathlib.Path, machine: str, program: str) -> None:
    """Writes what is kept of an output: of its trials that are finished."""
    folder = RESULTS / output.resolve().name
    subprocess.run([program, "export", output, "--format", "excerpt", "--out", folder], check=True)
    losses = (
        pl.scan_parquet(output / "metrics/*.parquet")
        .group_by("trial", "policy", "optimizer", "seed", (pl.col("iteration") // STRETCH).alias("stretch"), maintain_order=True)
        .agg(
            pl.col("iteration").first(),
            pl.col("lr").first(),
            pl.col("loss").mean().cast(pl.Float32).alias("mean_loss"),
            pl.col("loss").min().alias("least_loss"),
            pl.col("loss").max().alias("largest_loss"),
        )
        .drop("stretch")
        .collect()
    )
    losses.write_parquet(folder / "losses.parquet", compression="zstd", compression_level=19)
    (folder / "machine.json").write_text(json.dumps({"machine": machine}, indent=1) + "\n")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {len(losses)} rows of losses, {size:,} bytes")
    if size > LIMIT:
        sys.exit(f"{folder} is larger than {LIMIT:,} bytes")


class Result:
    """One experiment's committed results."""

    def __init__(self, name: str):
        folder = RESULTS / name
        trials = pl.read_parquet(folder / "trials.parquet").with_columns(pl.col("trial", "policy", "optimizer", "numerics").cast(pl.String))
        self.trials = trials.filter(pl.col("status") == "finished")
        evals = pl.read_parquet(folder / "evals/*.parquet").with_columns(pl.col("trial", "policy", "split").cast(pl.String))
        self.evals = evals.filter(pl.col("split") == "test")
        self.losses = pl.read_parquet(folder / "losses.parquet").with_columns(pl.col("policy").cast(pl.String))
        self.machine = json.loads((folder / "machine.json").read_text())["machine"]
        # By trial: when it was begun, and its wall time.
        self.known = json.loads((folder / "manifest.json").read_text())["trials"]

    def of(self, **values: str) -> pl.DataFrame:
        """The trials whose columns have these values."""
        return self.trials.filter(**values).sort("seed")


def percent(values: list[float]) -> str:
    """Mean of accuracies, with the standard deviation where there are several, in percent."""
    mean = f"{100 * statistics.mean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} ± {100 * statistics.stdev(values):.2f}"


def hours(seconds: list[float]) -> str:
    return f"{statistics.mean(seconds) / 3600:.1f} h"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def against_paper(result: Result, paper: dict[str, float]) -> str:
    """A row for each of the paper's policies that was trained: the paper's accuracy, ours, and what it took."""
    rows = []
    for policy, published in paper.items():
        trials = result.of(policy=policy)
        if trials.is_empty():
            rows.append([policy, "", f"{published}", "not trained yet", "", "", "", "", ""])
            continue
        final, best = trials["final_test_accuracy"].to_list(), trials["best_test_accuracy"].to_list()
        dates = sorted(result.known[id]["started"][:10] for id in trials["trial"])
        rows.append(
            [
                policy,
                f"{trials['iterations'][0]:,}",
                f"{published}",
                percent(final),
                f"{len(trials)}",
                f"{100 * statistics.mean(final) - published:+.2f}",
                percent(best),
                hours([result.known[id]["seconds"] for id in trials["trial"]]),
                dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
            ]
        )
    return table(["policy", "iterations", "paper", "clr-run", "seeds", "difference", "best", "a trial's time", "begun"], rows)


def iterations_to_reach(result: Result, reference: str) -> str:
    """For each policy the first evaluation at which its test accuracy is that with which `reference` ends."""
    ends = result.of(policy=reference)
    if ends.is_empty():
        return f"Waits for the row `{reference}`."
    target = statistics.mean(ends["final_test_accuracy"])
    rows = []
    for policy in sorted(set(result.trials["policy"])):
        trials = result.of(policy=policy)
        first = []
        for trial in trials["trial"]:
            reached = result.evals.filter((pl.col("trial") == trial) & (pl.col("accuracy") >= target))
            first.append(reached["iteration"].min())
        reached = [iteration for iteration in first if iteration is not None]
        mean = f"{statistics.mean(reached):,.0f}" if reached else "-"
        span = f"{min(reached):,} to {max(reached):,}" if len(reached) > 1 else ""
        rows.append([policy, f"{trials['iterations'][0]:,}", f"{len(reached)} of {len(first)}", mean, span])
    return f"The other way round, until each has {100 * target:.2f}%, with which `{reference}` ends:\n\n" + table(
        ["policy", "trained for", "seeds that reach it", "first at iteration, mean", "least to largest"], rows
    )


def iterations_of_the_reference(result: Result, reference: str) -> str:
    """For each other policy the first evaluation at which `reference` has the accuracy with which that policy ends."""
    rows = []
    for policy in sorted(set(result.trials["policy"]) - {reference}):
        trials = result.of(policy=policy)
        target = statistics.mean(trials["final_test_accuracy"])
        first = []
        for trial in result.of(policy=reference)["trial"]:
            first.append(result.evals.filter((pl.col("trial") == trial) & (pl.col("accuracy") >= target))["iteration"].min())
        reached = [iteration for iteration in first if iteration is not None]
        mean = f"{statistics.mean(reached):,.0f}" if reached else "never"
        ratio = f"{statistics.mean(reached) / trials['iterations'][0]:.1f}" if reached else ""
        rows.append([policy, f"{100 * target:.2f}", f"{trials['iterations'][0]:,}", mean, ratio])
    return table(["policy", "it ends with", "after iterations", f"{reference} first has that at iteration", "times as many"], rows)


def machine(result: Result) -> str:
    return f"Machine: {result.machine}. Arithmetic: {', '.join(sorted(set(result.trials['numerics'])))}."


def blocks() -> dict[str, str]:
    """The generated parts of the page by name. An experiment without committed results has none."""
    made = {}
    if (RESULTS / "smith2017-table1-cifar10").is_dir():
        table1 = Result("smith2017-table1-cifar10")
        made["table1"] = against_paper(table1, TABLE_1) + "\n\n" + machine(table1)
        made["table1-reach"] = iterations_of_the_reference(table1, "fixed") + "\n\n" + iterations_to_reach(table1, "fixed")
    if (RESULTS / "smith2017-fig6").is_dir():
        figure6 = Result("smith2017-fig6")
        made["fig6"] = against_paper(figure6, FIGURE_6) + "\n\n" + machine(figure6)
    if (RESULTS / "smith2017-fig3").is_dir():
        figure3 = Result("smith2017-fig3")
        made["fig3"] = by_rate(figure3, "range_test", 0.02) + "\n\n" + machine(figure3)
    return made


def by_rate(result: Result, policy: str, max_lr: float) -> str:
    """A range test's accuracy by the rate that its sweep had reached: a line a seed, and their mean."""
    trials = result.of(policy=policy)
    last = trials["iterations"][0]
    shown = [0, 100, 200, 400, 600, 800, 1000, 1200, 1500, 2000, 3000, 4000]
    lines = {}
    for trial, seed in trials.select("trial", "seed").iter_rows():
        measured = dict(result.evals.filter(trial=trial).select("iteration", "accuracy").iter_rows())
        lines[f"seed {seed}"] = [measured[iteration] for iteration in shown]
    lines["mean"] = [statistics.mean(values) for values in zip(*lines.values())]
    header = ["learning rate", *(f"{max_lr * iteration / last:g}" for iteration in shown)]
    return table(header, [[name, *(f"{100 * value:.1f}" for value in line)] for name, line in lines.items()])


def curve(rows: pl.DataFrame, value: pl.Expr) -> list[tuple[float, float]]:
    """A value by iteration, the mean over seeds."""
    return rows.group_by("iteration").agg(value.mean().alias("mean")).sort("iteration").select("iteration", "mean").rows()


def picture(result: Result, policies: dict[str, float]) -> str:
    """Learning rate and test accuracy of the policies that have been trained."""
    trained = [policy for policy in policies if len(result.of(policy=policy))]
    rates = {policy: curve(result.losses.filter(policy=policy), pl.col("lr")) for policy in trained}
    return draw(rates, {policy: curve(result.evals.filter(policy=policy), 100 * pl.col("accuracy")) for policy in trained})


def renew(file: pathlib.Path, text: str, check: bool) -> None:
    """Writes a file, or fails where it is not the same already."""
    if not check:
        file.write_text(text)
    elif not file.exists() or text != file.read_text():
        sys.exit(f"{file} is not what the committed results give; run: python specs/results/results.py page")


def page(check: bool) -> None:
    """Puts every generated part between its two comments in the page, and draws the picture."""
    text = PAGE.read_text()
    for name, block in blocks().items():
        start, end = f"<!-- results: {name} -->\n", "<!-- end of results -->"
        head, marker, rest = text.partition(start)
        if not marker or end not in rest:
            sys.exit(f"{PAGE} has no place for the results `{name}`: add the lines {start.strip()} and {end}")
        text = head + start + "\n" + block + "\n\n" + end + rest.partition(end)[2]
    renew(PAGE, text, check)
    if (RESULTS / "smith2017-table1-cifar10").is_dir():
        renew(RESULTS / "table1.svg", picture(Result("smith2017-table1-cifar10"), TABLE_1), check)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    taken = commands.add_parser("take", help="keep what is needed of a finished output")
    taken.add_argument("output", type=pathlib.Path)
    taken.add_argument("--machine", required=True, help="what the output was trained on, in words")
    taken.add_argument("--program", default="target/release/clr-run", help="default: %(default)s")
    paged = commands.add_parser("page", help="write the tables of specs/README.md")
    paged.add_argument("--check", action="store_true", help="write nothing; fail where the page is not up to date")
    arguments = parser.parse_args()
    if arguments.command == "take":
        take(arguments.output, arguments.machine, arguments.program)
    else:
        page(arguments.check)


if __name__ == "__main__":
    main()
