"""Learning-rate policies compared: a grid in one spec, every cell trained, every iteration logged.

`run` trains what a spec asks for, `read` reads what a run wrote:

>>> import clr_run
>>> out = clr_run.run(clr_run.example("quickstart"))      # doctest: +SKIP
>>> print(out.compare())                                  # doctest: +SKIP
>>> out.metrics(["policy", "iteration", "lr", "loss"]).collect()  # doctest: +SKIP

The program `clr-run` is installed with this package; `python -m clr_run` calls it too.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from clr_run.output import Comparison, Output, Trial, read
from clr_run.program import BadInput, ClrRunError, TrialsFailed, find_program
from clr_run.running import run
from clr_run.trackers import to_mlflow, to_wandb

__version__ = importlib.metadata.version("clr-run")

__all__ = [
    "BadInput",
    "ClrRunError",
    "Comparison",
    "Output",
    "Trial",
    "TrialsFailed",
    "example",
    "find_program",
    "read",
    "run",
    "to_mlflow",
    "to_wandb",
]


def example(name: str) -> Path:
    """The path of a spec that comes with this package: a file, or that of a folder with what it names.

    >>> example("quickstart").name
    'quickstart.toml'
    """
    folder = Path(__file__).parent / "specs"
    examples = {path.stem: path for path in folder.glob("*.toml")} | {it.parent.name: it for it in folder.glob("*/spec.toml")}
    if name not in examples:
        raise FileNotFoundError(f"there is no example {name!r}; there are {', '.join(sorted(examples))}")
    return examples[name]
