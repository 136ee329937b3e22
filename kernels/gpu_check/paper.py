"""Tables 1 and 3 of Smith (2017), all rows at once."""

import re
from collections.abc import Iterator
from pathlib import Path

from .units import Failed, Settings, Unit

# Test accuracy in percent, by policy in the specs. Names of Table 3 end in the optimizer.
TABLE_1 = {"fixed": 81.4, "triangular2": 81.4, "decay": 78.5, "exp": 79.1, "exp_range": 82.2}
TABLE_3 = {
    "fixed_nesterov": 82.1,
    "triangular_nesterov": 81.3,
    "fixed_adam": 81.4,
    "triangular_adam": 79.8,
    "triangular_long_adam": 81.1,
    "fixed_rmsprop": 75.2,
    "triangular_rmsprop": 72.8,
    "triangular_long_rmsprop": 75.1,
    "fixed_adagrad": 74.6,
    "triangular_adagrad": 76.0,
    "fixed_adadelta": 67.3,
    "triangular_adadelta": 67.3,
}
PAPER = {**TABLE_1, **TABLE_3}


def units(settings: Settings) -> Iterator[Unit]:
    # Tensor cores first: it is they that make two minutes possible.
    for precision in ("f32",) if settings.quick else ("bf16", "tf32"):
        yield Unit(f"all 17 rows, {precision}", 200, lambda precision=precision: train(settings, precision))


def spec(folder: Path) -> str:
    """One spec of both tables: their trials are of one group, and so can be trained in the same launches. A trial's id
    is a hash of what it is, so its rows are those that it has in its table's own spec."""
    first, third = (folder / f"smith2017-{name}.toml" for name in ("table1-cifar10", "table3"))
    policies = first.read_text().partition("[policies.")
    own = "".join(policies[1:])
    # Policies of Table 3 say which optimizer they meet; those of Table 1 meet the one that its spec has.
    own = re.sub(r"^(\[policies\.\w+\].*)$", r'\1\noptimizers = ["sgd"]', own, flags=re.MULTILINE)
    both = third.read_text().replace('name = "smith2017-table3"', 'name = "smith2017-tables-1-and-3"')
    # `unstaged_*` are no rows of the paper.
    unstaged = re.findall(r"^\[policies\.(unstaged_\w+)\]", both, flags=re.MULTILINE)
    excluded = ", ".join(f'{{ policy = "{name}" }}' for name in unstaged)
    return f"{both}\n{own}\n[grid]\nexclude = [{excluded}]\n"


def train(settings: Settings, precision: str) -> dict:
    path = settings.program.new("paper", ".toml")
    path.write_text(spec(settings.repository / "specs"))
    shape = ["--set", f'train.precision="{precision}"']
    if settings.dataset != "cifar10":
        shape += ["--set", f'data.dataset="{settings.dataset}"', "--set", "data.batch_size=2"]
    if settings.quick:
        shape += ["--set", "train.eval_every=0"]
        shape += [part for name in PAPER for part in ("--set", f"policies.{name}.train.iterations=2")]
    ran = settings.program.train(path, settings.program.device, *shape, name="smith2017-tables-1-and-3")
    events = ran.events()
    labels = {event["trial"]: event["label"] for event in events if event["event"] == "started"}
    ended = {event["trial"]: event for event in events if event["event"] == "ended"}
    evaluated = {
        event["trial"]: event for event in events if event["event"] == "evaluated" and event["split"] == "test"
    }
    rows = []
    for trial, label in labels.items():
        policy, optimizer = label.split()[:2]
        end = ended[trial]
        finished = end["outcome"] == "finished" and evaluated[trial]["step"] == end["step"]
        accuracy = f"{100 * evaluated[trial]['accuracy']:.2f}" if finished else "-"
        rows.append(
            {
                "policy": policy,
                "optimizer": optimizer,
                "iterations": end["step"],
                "paper": PAPER[policy],
                "accuracy": accuracy,
                "status": end["outcome"],
            }
        )
    if sorted(row["policy"] for row in rows) != sorted(PAPER) or max(call.lanes for call in ran.calls()) != len(PAPER):
        raise Failed(f"not all {len(PAPER)} rows were trained at once", command=ran.ran.command)
    rows.sort(key=lambda row: list(PAPER).index(row["policy"]))
    seconds = max(end["seconds"] for end in ended.values())
    sum_of_steps = sum(row["iterations"] for row in rows)
    return {
        "status": "measured",
        "rows": rows,
        "seconds": seconds,
        "command": ran.ran.command,
        "summary": f"17 rows, {sum_of_steps:,} iterations in {seconds:.0f} s",
    }
