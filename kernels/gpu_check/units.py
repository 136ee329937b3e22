"""Units of work, each with one result: done once, within a time budget, recorded at once."""

import dataclasses
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

from .program import Program
from .report import Results


@dataclasses.dataclass
class Settings:
    """What the steps work with."""

    program: Program
    repository: Path
    dataset: str
    quick: bool
    python: str


@dataclasses.dataclass
class Unit:
    """A piece of a step. `work` gives the fields of its result."""

    key: str
    seconds: float  # About what it takes; what takes ten times as long hangs.
    work: Callable[[], dict]


class Failed(Exception):
    """A check has failed: what was expected, and what was found. `fields` are those of the result."""

    def __init__(self, message: str, **fields):
        super().__init__(message)
        self.fields = fields


class Skipped(Exception):
    """What is checked or measured is not there."""


Step = Callable[[Settings], Iterator[Unit]]


def run_units(
    steps: dict[str, Step], settings: Settings, results: Results, match: str, budget: Optional[float], again: bool
) -> int:
    """Does what is not done yet, of that whose name has `match` in it. Gives the exit status."""
    begin, failed, left = time.monotonic(), False, []
    for step, units in steps.items():
        for unit in units(settings):
            if settings.quick and step != "hardware":
                # What was seen in passing does not stand for the whole.
                unit = dataclasses.replace(unit, key=f"{unit.key}, quick")
            if match not in unit.key and step != "hardware":
                continue
            known = results.find(step, unit.key)
            if known and not again and known["status"] in ("passed", "measured"):
                continue
            remaining = float("inf") if budget is None else budget - (time.monotonic() - begin)
            if unit.seconds > remaining:
                left.append(f"{step} {unit.key}")
                continue
            settings.program.limit = min(max(60.0, 10 * unit.seconds), remaining)
            result = do(step, unit)
            results.add(result)
            failed |= result["status"] == "failed"
            print(line(result), flush=True)
            if step == "hardware" and result["status"] == "failed":
                return 2
    if left:
        print(f"gpu-check: {len(left)} left for another call: {', '.join(left)}", file=sys.stderr)
    return 1 if failed else 3 if left else 0


def do(step: str, unit: Unit) -> dict:
    """One result."""
    began = time.time()
    try:
        fields = {"status": "passed", **unit.work()}
    except Skipped as reason:
        fields = {"status": "skipped", "message": str(reason)}
    except Failed as problem:
        fields = {"status": "failed", "message": str(problem), **problem.fields}
    except subprocess.TimeoutExpired as expired:
        fields = {"status": "failed", "message": f"no end after {expired.timeout:.0f} s: {expired.cmd}"}
    except Exception:  # One unit's mistake must not cost the others: time on a GPU is dear.
        fields = {"status": "failed", "message": traceback.format_exc()}
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began))
    return {"step": step, "key": unit.key, "date": date, "took": round(time.time() - began, 2), **fields}


def line(result: dict) -> str:
    """For the terminal."""
    message = result.get("message") or result.get("summary") or ""
    return f"{result['status'].upper():8} {result['step']} {result['key']} ({result['took']:.1f} s) {message}"
