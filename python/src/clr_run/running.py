"""Training what a spec asks for: the program's run, from Python."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Union

from clr_run import toml
from clr_run.frames import Library
from clr_run.output import Output
from clr_run.program import environment, error, find_program

Spec = Union[Mapping[str, object], str, "os.PathLike[str]"]

# What a run prints while it goes on, and what is no part of an error's message.
_PROGRESS = re.compile(r"(started|finished|diverged|stopped) {2,}|\d+%  |[\d,]+ trials?, [\d,]+ iterations? to do|note: ")

# The line of the results that says where they are.
_FOLDER = re.compile(r"^(?:[\d,]+ rows?, .*|no trial has ended yet; what was saved is) in (.+)$", re.MULTILINE)


def run(
    spec: Spec,
    *,
    outputs: str | os.PathLike[str] = "outputs",
    set: Mapping[str, object] | None = None,
    progress: bool = True,
    data: str | os.PathLike[str] | None = None,
    plugins: Sequence[str | os.PathLike[str]] = (),
    device: str | None = None,
    jobs: int | None = None,
    retry_failed: bool = False,
    options: Sequence[str] = (),
    as_: Library | None = None,
) -> Output:
    """Trains every trial of a spec that has no finished rows yet, and returns the output.

    The spec is a dict, TOML text, or the path of a file. What a dict or a text names (tables, datasets, modules) is looked for
    from the current folder. `set` overrides keys, as `--set`; `options` are more options of the command line.

    `progress` shows on stderr, and so in a notebook, how far it is. Ctrl-C, or the notebook's stop, ends the run with care; the
    same call goes on with it.

    What is wrong with the spec is `clr_run.BadInput`, and a run with trials that failed is `clr_run.TrialsFailed`, whose
    `output` has the others. The message of either is the program's own.

    >>> spec = {
    ...     "experiment": {"name": "first", "seeds": [1, 2, 3]},
    ...     "model": {"plugin": "cifar", "architecture": "cifar10_quick"},
    ...     "data": {"dataset": "shapes", "batch_size": 32},
    ...     "train": {"iterations": 400, "eval_every": 100},
    ...     "policies": {
    ...         "fixed": {"kind": "fixed", "base_lr": 0.0008},
    ...         "triangular": {"kind": "triangular", "base_lr": 0.0003, "max_lr": [0.0015, 0.003], "step_size": 100},
    ...     },
    ...     "optimizers": {"sgd": {"kind": "sgd", "momentum": 0.9}},
    ... }
    >>> out = clr_run.run(spec)                           # doctest: +SKIP
    >>> print(out.compare())                              # doctest: +SKIP
    """
    text, path = _source(spec)
    arguments: list[str] = [path, "--outputs", os.fspath(outputs)]
    for key, value in (set or {}).items():
        arguments += ["--set", f"{key}={toml.value(value, key)}"]
    if data is not None:
        arguments += ["--data", os.fspath(data)]
    for plugin in plugins:
        arguments += ["--plugin", os.fspath(plugin)]
    if device is not None:
        arguments += ["--device", device]
    if jobs is not None:
        arguments += ["--jobs", str(jobs)]
    if retry_failed:
        arguments.append("--retry-failed")
    if not progress:
        arguments.append("--quiet")
    code, stdout, stderr = _watch([find_program(), *arguments, *options], text, progress)
    folders = _FOLDER.findall(stdout)
    output = Output(folders[-1], as_=as_) if folders else None
    if code in (130, 143):
        raise KeyboardInterrupt
    if code != 0 or output is None:
        said = "\n".join(line for line in stderr.splitlines() if not _PROGRESS.match(line))
        raise error(said or stdout, code, output)
    return output


def _source(spec: Spec) -> tuple[str | None, str]:
    """The text of a spec that is not a file, and the path where the program reads it."""
    if isinstance(spec, Mapping):
        return toml.dumps(spec), "/dev/stdin"
    if isinstance(spec, str) and ("\n" in spec or not spec.strip()):
        return spec, "/dev/stdin"
    return None, os.fspath(spec)


def _watch(command: list[str], stdin: str | None, shows: bool) -> tuple[int, str, str]:
    """Runs a command to its end: its exit code and what it wrote. What goes to stderr is shown meanwhile."""
    source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    # A terminal sends Ctrl-C to the command too, and a notebook's stop goes to this process alone or to both. So the command does
    # not hear it, and is told by another signal, once.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        child = subprocess.Popen(
            command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment()
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    written: dict[str, list[str]] = {"stdout": [], "stderr": []}

    def listen(name: str, stream: IO[str]) -> None:
        for line in stream:
            written[name].append(line)
            if shows and name == "stderr":
                sys.stderr.write(line)
                sys.stderr.flush()

    listeners = [
        threading.Thread(target=listen, args=(name, stream), daemon=True)
        for name, stream in (("stdout", child.stdout), ("stderr", child.stderr))
        if stream is not None
    ]
    for listener in listeners:
        listener.start()
    if child.stdin is not None and stdin is not None:
        try:
            child.stdin.write(stdin)
            child.stdin.close()
        except BrokenPipeError:
            # It ended before it read the spec, and says why.
            pass
    _wait(child)
    for listener in listeners:
        listener.join()
    return child.returncode, "".join(written["stdout"]), "".join(written["stderr"])


def _wait(child: subprocess.Popen[str]) -> None:
    """Waits for the end of a command. What would end the wait, such as Ctrl-C, asks the command to end instead: the first time
    with care, the second time at once."""
    stopped: BaseException | None = None
    while True:
        try:
            child.wait()
            break
        except BaseException as stop:
            stopped = stop
            child.terminate()
    if stopped is not None:
        raise stopped
