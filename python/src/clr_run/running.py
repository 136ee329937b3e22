"""Training what a spec asks for: the program's run, from Python."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import IO, Any, Union

from clr_run import toml
from clr_run.frames import Library
from clr_run.output import Output
from clr_run.program import environment, error, find_program

Spec = Union[Mapping[str, object], str, "os.PathLike[str]"]

# What a run prints while it goes on.
_PROGRESS = re.compile(r"(started|finished|diverged|stopped) {2,}|\d+%  |[\d,]+ trials?, [\d,]+ iterations? to do")

# Seconds between two looks at what there is to show.
_REFRESH = 0.1

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
        said = "\n".join(line for line in stderr.splitlines() if not (_PROGRESS.match(line) or line.startswith("note: ")))
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
    written: dict[str, list[str]] = {"stdout": [], "stderr": []}

    def listen(name: str, stream: IO[str]) -> None:
        for line in stream:
            written[name].append(line)

    def tell(stream: IO[str]) -> None:
        # It may end before it has read the spec, and says why.
        with contextlib.suppress(BrokenPipeError), stream:
            stream.write(stdin or "")

    # A terminal sends Ctrl-C to the command too, and a notebook's stop goes to this process alone or to both. So the command does
    # not hear it, and is told by another signal, once.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        pipe = subprocess.PIPE
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", env=environment())
        talks = [
            threading.Thread(target=tell, args=(child.stdin,), daemon=True),
            threading.Thread(target=listen, args=("stdout", child.stdout), daemon=True),
            threading.Thread(target=listen, args=("stderr", child.stderr), daemon=True),
        ]
        for talk in talks:
            talk.start()
        display = _Display(written["stderr"]) if shows else None
        stopped = _wait(child, mask, display)
        for talk in talks:
            talk.join()
        if display is not None:
            display.refresh()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if stopped is not None:
        raise stopped
    return child.returncode, "".join(written["stdout"]), "".join(written["stderr"])


def _wait(child: subprocess.Popen[str], mask: Collection[int], display: _Display | None) -> BaseException | None:
    """Waits for the end of a command. What would end the wait, such as Ctrl-C, asks the command to end instead, and is returned:
    the first time with care, the second time at once."""
    stopped: BaseException | None = None
    while True:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_REFRESH)
                    return stopped
                if display is not None:
                    display.refresh()
        except BaseException as stop:
            stopped = stop
            child.terminate()


class _Display:
    """Shows lines as they come: on stderr, but in a notebook each line of progress in the place of the one before. An error, with
    which the command ends, is left to the exception."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._shown = 0
        self._handle: Any = None

    def refresh(self) -> None:
        """Shows what has come."""
        lines = list(itertools.takewhile(_is_no_error, self._lines[self._shown :]))
        self._shown += len(lines)
        if _is_notebook():
            progress = [line for line in lines if _PROGRESS.match(line)]
            lines = [line for line in lines if not _PROGRESS.match(line)]
            if progress:
                self._replace(progress[-1].rstrip())
        sys.stderr.write("".join(lines))
        sys.stderr.flush()

    def _replace(self, line: str) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display({"text/plain": line}, raw=True, display_id=True)
        else:
            self._handle.update({"text/plain": line}, raw=True)


def _is_no_error(line: str) -> bool:
    return not line.startswith("error")


def _is_notebook() -> bool:
    """True in a kernel of Jupyter, whose outputs can be replaced."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
