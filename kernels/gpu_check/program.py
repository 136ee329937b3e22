"""Runs clr-run, and reads what it says: rows, events, and the times of its calls."""

import csv
import datetime
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

SPEC = """
[experiment]
name  = "gpu-check"
seeds = {seeds}

[model]
plugin       = "cifar"
architecture = {architectures}

[data]
dataset    = "{dataset}"
batch_size = {batch}

[train]
iterations = {iterations}
eval_every = 0
precision  = {precisions}

[checkpoint]
every = "never"

[policies.fixed]
kind    = "fixed"
base_lr = {rates}
"""
OPTIMIZERS = ("sgd", "nesterov", "adam", "adamw", "rmsprop", "adagrad", "adadelta")


class Call(NamedTuple):
    """A call of the plugin: some steps of all lanes. `end` is when it returned."""

    end: float
    lanes: int
    steps: int
    seconds: float


class Ran(NamedTuple):
    """What a command left."""

    code: int
    stdout: str
    stderr: str
    command: str


class Gpu(NamedTuple):
    """As clr-run sees it."""

    name: str
    bytes: int


class Program:
    """A clr-run, and what it trains on."""

    def __init__(self, path: Path, device: str, data: Optional[Path], scratch: Path):
        self.path, self.device, self.data, self.scratch = path, device, data, scratch
        self.limit = 600.0  # Seconds that a command may take.
        self.count = 0
        self.found: Optional[Gpu] = None

    def plugin(self, name: str) -> Path:
        return self.path.parent / f"lib{name}.so"

    def run(self, *arguments: object, before: Sequence[str] = ()) -> Ran:
        """Runs clr-run with `arguments`; `before` is a command that runs it."""
        command = [*before, str(self.path), *map(str, arguments)]
        environment = dict(os.environ)
        if self.data is not None:
            environment["CLR_DATA"] = str(self.data.resolve())
        return run_for(self.limit, command, environment)

    def gpu(self) -> "Gpu":
        """The GPU. Where clr-run cannot use it, `RuntimeError` has the reason."""
        if self.found is None:
            spec = self.spec(dataset="shapes", batch=4, iterations=1, architectures=["cifar10_quick"])
            ran = self.run("plan", spec, "--device", self.device, "--no-probe", "--log", "clr_train::device=info")
            named = re.search(r'name: "([^"]*)", free: (\d+), total: (\d+)', ran.stderr)
            if ran.code != 0 or not named:
                raise RuntimeError(f"clr-run cannot use {self.device}: {(ran.stderr or ran.stdout).strip()}")
            self.found = Gpu(named[1], int(named[3]))
        return self.found

    def spec(
        self,
        *,
        dataset: str,
        batch: int,
        iterations: int,
        architectures: Sequence[str],
        precisions: Sequence[str] = ("f32",),
        rates: Sequence[float] = (0.001,),
        seeds: Sequence[int] = (1,),
        optimizers: Sequence[str] = ("sgd",),
    ) -> Path:
        """A new spec: all combinations of what is given."""
        text = SPEC.format(
            dataset=dataset,
            batch=batch,
            iterations=iterations,
            seeds=list(seeds),
            rates=list(rates),
            architectures=json.dumps(list(architectures)),
            precisions=json.dumps(list(precisions)),
        )
        for optimizer in optimizers:
            momentum = "momentum = 0.9\n" if optimizer in ("sgd", "nesterov") else ""
            text += f'\n[optimizers.{optimizer}]\nkind = "{optimizer}"\n{momentum}'
        path = self.new("spec", ".toml")
        path.write_text(text)
        return path

    def new(self, name: str, end: str = "") -> Path:
        """A path for something new."""
        self.count += 1
        return self.scratch / f"{name}-{self.count}{end}"

    def train(
        self,
        spec: Path,
        device: Optional[str] = None,
        *arguments: object,
        name: str = "gpu-check",
        before: Sequence[str] = (),
    ) -> "Output":
        """Trains. Where that fails, `RuntimeError` has the reason."""
        folder, log = self.new("outputs"), self.new("log", ".txt")
        options = ["--quiet", "--outputs", folder, "--log", "clr_train=debug", "--log-file", log]
        ran = self.run(spec, "--device", device or self.device, *options, *arguments, before=before)
        if ran.code != 0:
            raise RuntimeError(f"{ran.command}\nended with {ran.code}:\n{ran.stderr or ran.stdout}")
        return Output(self, folder / name, log, ran)


class Output:
    """The folder of a run that is over."""

    def __init__(self, program: Program, folder: Path, log: Path, ran: Ran):
        self.program, self.folder, self.log, self.ran = program, folder, log, ran

    def tables(self) -> dict[str, bytes]:
        """The files that two runs of one spec have in common."""
        files = sorted([*self.folder.glob("metrics/*"), *self.folder.glob("evals/*"), self.folder / "trials.parquet"])
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}

    def numerics(self) -> list[str]:
        """How it was computed, as clr-run names it."""
        return json.loads((self.folder / "manifest.json").read_text())["runs"][-1]["numerics"]

    def labels(self) -> list[str]:
        """The trials, in the spec's order."""
        return [trial["label"] for trial in json.loads((self.folder / "plan.json").read_text())["trials"]]

    def rows(self, label: str) -> list[dict[str, float]]:
        """A trial's rows of metrics. What is null is left out."""
        file = self.program.new("rows", ".csv")
        ran = self.program.run("export", self.folder, "--trial", label, "--format", "csv", "--out", file)
        if ran.code != 0:
            raise RuntimeError(f"{ran.command}\nended with {ran.code}:\n{ran.stderr}")
        numbers = lambda row: {name: float(value) for name, value in row.items() if name != "diverged" and value}
        return [numbers(row) for row in csv.DictReader(file.read_text().splitlines())]

    def events(self) -> list[dict]:
        return [json.loads(text) for text in (self.folder / "events.jsonl").read_text().splitlines()]

    def calls(self) -> list[Call]:
        """All calls, in order, as clr-run logged them."""
        pattern = re.compile(r"^(\S+)Z +DEBUG clr_train::lanes: called lanes=(\d+) steps=(\d+) seconds=(\S+)")
        found = (pattern.match(text) for text in self.log.read_text().splitlines())
        end = lambda text: datetime.datetime.fromisoformat(text).timestamp()
        return [Call(end(it[1]), int(it[2]), int(it[3]), float(it[4])) for it in found if it]

    def remove(self) -> None:
        shutil.rmtree(self.folder.parent)


def pace(calls: Sequence[Call], warm_up: int) -> dict[str, float]:
    """Milliseconds of a step, all lanes at once, after the first `warm_up` steps: by the clock from call to call, which
    counts all that clr-run does, and within the calls, of which there are `calls`."""
    steps = 0
    for index, call in enumerate(calls):
        steps += call.steps
        if steps >= warm_up and index + 1 < len(calls):
            first, rest = call, calls[index + 1 :]
            break
    else:
        raise ValueError(f"{len(calls)} calls leave nothing after a warm-up of {warm_up} steps")
    count = sum(call.steps for call in rest)
    inside = [1e3 * call.seconds / call.steps for call in rest]
    return {
        "ms": 1e3 * (rest[-1].end - first.end) / count,
        "ms_inside": statistics.median(inside),
        "ms_least": min(inside),
        "ms_most": max(inside),
        "calls": len(rest),
        "steps": count,
    }


def run_for(seconds: float, command: Sequence[str], environment: Optional[dict[str, str]] = None) -> Ran:
    """Runs a command. After so many seconds it is killed with all that it started: `subprocess.TimeoutExpired`."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Ran(process.returncode, stdout, stderr, " ".join(command))
