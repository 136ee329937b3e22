"""Writes goldens.csv: what fastai, pytorch-lr-finder and Lightning suggest on curves of many kinds, for the tests in
../goldens.rs. A line is a name and its values, printed so that reading them gives the same bits.

    pip install torch numpy && pip install --no-deps --target peers fastai torch-lr-finder lightning tqdm packaging
    python make_goldens.py peers

The originals are run: the functions and classes that decide are taken out of the packages' files as they stand there,
and get a stub for the training around them, whose losses are those of the curve. All is computed in double precision; in
single precision, which fastai and Lightning use, the suggestions on these curves are the same, or the script says so.
Made with torch 2.15.0, NumPy 2.4.6, fastai 2.8.12 (Apache-2.0), torch-lr-finder 0.2.2 (MIT), lightning 2.6.6 (Apache-2.0).
"""

import ast
import collections
import contextlib
import functools
import io
import logging
import math
import pathlib
import random
import sys
import types
import warnings
from unittest import mock

import numpy as np
import torch

warnings.filterwarnings("ignore")
PEERS = pathlib.Path(sys.argv[1])
LINES = []


def original(path, names, given):
    """The named functions, classes and methods of a file, as they stand there, with `given` for what they use."""
    tree = ast.parse((PEERS / path).read_text())
    found = [node for node in ast.walk(tree) if getattr(node, "name", None) in names]
    assert {node.name for node in found} == set(names), names
    for node in found:
        node.decorator_list = []
    scope = dict(given)
    exec(compile(ast.Module(body=found, type_ignores=[]), path, "exec"), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in names})


# fastai


class Cancel(Exception):
    pass


def rules_of_fastai(tensor):
    scope = dict(np=np, to_np=lambda it: it.numpy(), tensor=tensor)
    return original("fastai/callback/schedule.py", ["valley", "slide", "minimum", "steep"], scope)


def fastai(lrs, losses, planned, dtype):
    """The smoothed losses of `lr_find`, and what each of its rules suggests."""
    tensor = lambda values: torch.tensor([float(value) for value in values], dtype=dtype)
    loop = original("fastai/callback/schedule.py", ["after_batch"], dict(CancelFitException=Cancel, super=mock.MagicMock()))
    meter = original(
        "fastai/learner.py", ["AvgSmoothLoss"], dict(Metric=object, torch=torch, tensor=torch.tensor, to_detach=lambda it: it)
    ).AvgSmoothLoss()
    meter.val = torch.tensor(0.0, dtype=dtype)
    # What `LRFinder.__init__` sets.
    num_it = max(planned, 6)
    finder = types.SimpleNamespace(num_it=num_it, stop_div=True, best_loss=float("inf"), train_iter=0)
    recorder = types.SimpleNamespace(lrs=[], losses=[])

    def fit(epochs, cbs):
        with contextlib.suppress(Cancel):
            for lr, loss in zip(lrs, losses):
                meter.accumulate(types.SimpleNamespace(loss=torch.tensor(loss, dtype=dtype)))
                # As `Recorder.after_batch` and `TrainEvalCallback.after_batch` do, which come before the finder's.
                recorder.lrs.append(lr)
                recorder.losses.append(meter.value)
                finder.smooth_loss = meter.value
                finder.train_iter += 1
                loop.after_batch(finder)

    suggestions = {}
    for name in ["valley", "slide", "minimum", "steep"]:
        recorder.lrs, recorder.losses = [], []
        meter.count, meter.val = 0, torch.tensor(0.0, dtype=dtype)
        finder.best_loss, finder.train_iter = float("inf"), 0
        lr_find = original(
            "fastai/callback/schedule.py",
            ["lr_find"],
            dict(
                Learner=object,
                SuggestionMethod=types.SimpleNamespace(Valley=None),
                LRFinder=lambda **options: None,
                tensor=tensor,
                torch=torch,
                tuplify=lambda it: (it,),
                partial=functools.partial,
                collections=collections,
            ),
        ).lr_find
        learner = types.SimpleNamespace(
            dls=types.SimpleNamespace(train=[0]), no_logging=contextlib.nullcontext, fit=fit, recorder=recorder
        )
        rule = getattr(rules_of_fastai(tensor), name)
        try:
            found = lr_find(learner, num_it=num_it, show_plot=False, suggest_funcs=rule)
            suggestions[name] = float(found[0])
        except (IndexError, ValueError, RuntimeError):
            suggestions[name] = None
    return [float(loss) for loss in recorder.losses], suggestions


# pytorch-lr-finder, whose class is run whole but for the training of a batch


def torch_lr_finder(lrs, losses, planned, dtype=None):
    # It draws what it found, which nobody looks at.
    sys.modules["matplotlib"] = sys.modules["matplotlib.pyplot"] = mock.MagicMock()
    sys.path.insert(0, str(PEERS))
    import torch_lr_finder
    from torch_lr_finder.lr_finder import TrainDataLoaderIter

    class Finder(torch_lr_finder.LRFinder):
        def _train_batch(self, *_, **__):
            self.seen = getattr(self, "seen", -1) + 1
            return losses[self.seen]

    model = torch.nn.Linear(1, 1)
    finder = Finder(model, torch.optim.SGD(model.parameters(), lr=1e-7), None)
    loader = TrainDataLoaderIter.__new__(TrainDataLoaderIter)
    if len(losses) < 2:
        return losses, None
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder.range_test(loader, end_lr=10, num_iter=len(losses))
        finder.history["lr"] = lrs[: len(finder.history["loss"])]
        try:
            suggestion = float(finder.plot(ax=mock.MagicMock())[1])
        except (RuntimeError, ValueError):
            suggestion = None
    return finder.history["loss"], suggestion


# Lightning


def lightning(lrs, losses, planned, dtype):
    torch.set_default_dtype(dtype)
    path = "lightning/pytorch/tuner/lr_finder.py"
    scope = dict(
        Callback=object, torch=torch, log=logging.getLogger("quiet"), Optional=__import__("typing").Optional,
        Any=object, override=lambda it: it, pl=mock.MagicMock(), STEP_OUTPUT=object, Union=__import__("typing").Union,
    )
    callback = original(path, ["_LRCallback"], scope)._LRCallback
    for name in ["on_train_batch_start", "on_train_batch_end"]:
        assert hasattr(callback, name)
    callback = callback(planned, 4.0)
    trainer = types.SimpleNamespace(
        fit_loop=types.SimpleNamespace(batch_idx=0), accumulate_grad_batches=1, global_step=0, should_stop=False,
        strategy=types.SimpleNamespace(broadcast=lambda it: it),
    )
    for lr, loss in zip(lrs, losses):
        trainer.lr_scheduler_configs = [types.SimpleNamespace(scheduler=types.SimpleNamespace(lr=[lr]))]
        callback.on_train_batch_start(trainer, None, None, 0)
        trainer.global_step += 1
        callback.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss, dtype=dtype)}, None, 0)
        if trainer.should_stop:
            break
    suggestion = original(path, ["suggestion"], scope).suggestion
    finder = types.SimpleNamespace(results=dict(lr=callback.lrs, loss=callback.losses))
    logging.disable(logging.CRITICAL)
    found = suggestion(finder)
    torch.set_default_dtype(torch.float32)
    return callback.losses, found


# Curves


def direct(lrs, losses):
    """The rules alone, without smoothing and stopping, on all points."""
    rules = rules_of_fastai(None)
    x, y = torch.tensor(lrs, dtype=torch.float64), torch.tensor(losses, dtype=torch.float64)
    found = {}
    for name in ["valley", "slide", "minimum", "steep"]:
        try:
            found[name] = float(getattr(rules, name)(x, y, len(lrs))[0])
        except (IndexError, ValueError, RuntimeError):
            found[name] = None
    return found


def check_lines(name, kind, values):
    text = ",".join("none" if value is None else repr(float(value)) for value in values)
    LINES.append(f"{name},{kind},{text}")


def case(name, lrs, losses, planned=None):
    planned = planned or len(losses)
    check_lines(name, "planned", [planned])
    check_lines(name, "lrs", lrs)
    check_lines(name, "losses", losses)
    alone = direct(lrs, losses)
    check_lines(name, "alone", [alone[rule] for rule in ["valley", "slide", "minimum", "steep"]])
    smooth, found = fastai(lrs, losses, planned, torch.float64)
    check_lines(name, "fastai_smoothed", smooth)
    check_lines(name, "fastai", [found[rule] for rule in ["valley", "slide", "minimum", "steep"]])
    smooth, of_torch = torch_lr_finder(lrs, losses, planned)
    check_lines(name, "torch_lr_finder_smoothed", smooth)
    check_lines(name, "torch_lr_finder", [of_torch])
    smooth, of_lightning = lightning(lrs, losses, planned, torch.float64)
    check_lines(name, "lightning_smoothed", smooth)
    check_lines(name, "lightning", [of_lightning])

    _, single = fastai(lrs, losses, planned, torch.float32)
    single["lightning"] = lightning(lrs, losses, planned, torch.float32)[1]
    for rule, value in (found | {"lightning": of_lightning}).items():
        other = single[rule]
        if (value is None) != (other is None) or value and not math.isclose(value, other, rel_tol=1e-5):
            print(f"{name}: {rule} suggests {value} in double precision and {other} in single")


def exponential(count, low=1e-7, high=10.0):
    return [low * (high / low) ** (step / count) for step in range(count)]


def linear(count, low=0.0, high=0.02):
    return [low + (high - low) * step / count for step in range(count)]


def typical(lr, step):
    """A loss that falls around 0.003, and rises from 0.05 on, with a small wave."""
    fall = 1.2 / (1.0 + math.exp(-2.0 * (math.log10(lr) + 2.5)))
    rise = 0.0 if lr < 0.05 else 3.0 * math.log10(lr / 0.05) ** 2
    return 2.3 - fall + rise + 0.01 * math.sin(1.7 * step)


noise = random.Random(1)
lrs = exponential(100)
case("typical", lrs, [typical(lr, step) for step, lr in enumerate(lrs)])
case("noisy", lrs, [typical(lr, step) + noise.gauss(0, 0.1) for step, lr in enumerate(lrs)])
case("falling", lrs, [2.3 - 0.02 * step for step in range(100)])
case("flat", lrs, [2.3] * 100)
case("flat_and_noisy", lrs, [2.3 + noise.gauss(0, 0.02) for _ in lrs])
case("diverging", lrs, [typical(lr, step) + (0 if lr < 0.3 else (lr / 0.3) ** 4) for step, lr in enumerate(lrs)])
case("to_nan", lrs, [typical(lr, step) if step < 71 else math.nan for step, lr in enumerate(lrs)])
case("one_nan", lrs, [math.nan if step == 40 else typical(lr, step) for step, lr in enumerate(lrs)])
case("nan_early", lrs, [typical(lr, step) if step < 12 else math.nan for step, lr in enumerate(lrs)])
case("to_infinity", lrs, [typical(lr, step) if step < 66 else math.inf for step, lr in enumerate(lrs)])
case("falling_to_zero", lrs, [max(0.0, 1.0 - 0.05 * step) for step in range(100)])
case("steps", lrs, [float(3 - step // 25) for step in range(100)])
long = exponential(300, 1e-6, 1.0)
case("long", long, [typical(lr, step) + noise.gauss(0, 0.05) for step, lr in enumerate(long)])
for count in [1, 2, 3, 6, 11, 12, 16, 17, 22, 28, 29]:
    some = exponential(count, 1e-4, 1.0)
    case(f"short_{count}", some, [2.0 - 0.1 * step + (0.05 if step % 3 == 1 else 0) for step in range(count)])
case("unfinished", lrs[:50], [typical(lr, step) for step, lr in enumerate(lrs[:50])], planned=100)
straight = linear(120)
case("linear", straight, [2.3 - 60 * lr + 3500 * lr * lr + noise.gauss(0, 0.03) for lr in straight])

pathlib.Path(__file__).with_name("goldens.csv").write_text("\n".join(LINES) + "\n")
print(f"{len(LINES)} lines")
