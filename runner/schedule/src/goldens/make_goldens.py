"""Writes goldens.csv: other people's schedules, for the tests in ../goldens.rs. A line is a case and its values from
step 0 on, printed so that reading them gives the same bits.

    pip install torch torchvision keras timm && python make_goldens.py

PyTorch's schedulers, Keras's and timm's are run. Keras's callback of 2017, Caffe's and Torch7's patches (appendix A of arXiv 1506.01186v6), Smith's
notes on Caffe and 1cycle, fastai's `fit_one_cycle` and the range tests are transcribed below, since they are not
packages or bring too much along. Made with torch 2.15.0, keras 3.15.1 and timm 1.0.31.
"""

import math
import os
import pathlib
import warnings

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch.optim import lr_scheduler

warnings.filterwarnings("ignore")
CASES = {}


# PyTorch


def run(name, make, steps, momentum=None, lr=1.0):
    """Records lr, and momentum too where a name is given for it, as read before each of `steps` updates."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    scheduler = make(optimizer)
    lrs, momenta = [], []
    for step in range(steps):
        if step > 0:
            optimizer.step()
            scheduler.step()
        lrs.append(float(optimizer.param_groups[0]["lr"]))
        momenta.append(float(optimizer.param_groups[0]["momentum"]))
    CASES[name] = lrs
    if momentum:
        CASES[momentum] = momenta


def cyclic(**options):
    return lambda optimizer: lr_scheduler.CyclicLR(optimizer, base_lr=0.001, max_lr=0.006, **options)


for mode in "triangular", "triangular2", "exp_range":
    run(
        f"torch_cyclic_{mode}_7_7",
        cyclic(mode=mode, step_size_up=7, gamma=0.99),
        60,
        momentum=f"torch_cyclic_{mode}_7_7_momentum",
    )
    run(f"torch_cyclic_{mode}_3_11", cyclic(mode=mode, step_size_up=3, step_size_down=11, gamma=0.99), 60)
run("torch_cyclic_triangular2_8.2_8.2", cyclic(mode="triangular2", step_size_up=8.2), 70)

for anneal in "cos", "linear":
    for pct_start in 0.3, 0.25, 0.45:
        for three_phase in False, True:
            phases = 3 if three_phase else 2
            name = f"torch_one_cycle_{anneal}_{phases}_{pct_start}"
            run(
                name,
                lambda optimizer: lr_scheduler.OneCycleLR(
                    optimizer,
                    max_lr=0.5,
                    total_steps=37,
                    pct_start=pct_start,
                    anneal_strategy=anneal,
                    three_phase=three_phase,
                ),
                37,
                momentum=f"{name}_momentum",
            )

for mult in 1, 2, 3:
    run(
        f"torch_warm_restarts_5_{mult}",
        lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=5, T_mult=mult, eta_min=0.01),
        70,
    )

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=0.001)
CASES["torch_cosine_40"] = []
for step in range(41):
    scheduler.last_epoch = step
    CASES["torch_cosine_40"].append(scheduler._get_closed_form_lr()[0])

run("torch_polynomial_30_2", lambda o: lr_scheduler.PolynomialLR(o, total_iters=30, power=2.0), 40, lr=0.01)
run("torch_multistep_10_25", lambda o: lr_scheduler.MultiStepLR(o, milestones=[10, 25], gamma=0.1), 40, lr=0.01)
run("torch_step_8", lambda o: lr_scheduler.StepLR(o, step_size=8, gamma=0.5), 40, lr=0.01)
run("torch_exponential", lambda o: lr_scheduler.ExponentialLR(o, gamma=0.97), 60, lr=0.01)
run("torch_linear_20", lambda o: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=20), 40, lr=0.3)


# The edges: few steps, fractions of 0 and 1, equal bounds. What PyTorch answers with a division by zero has no case.

for anneal in "cos", "linear":
    for total in 1, 2, 3, 4, 10:
        for pct_start in 0.0, 0.1, 0.25, 1 / 3, 0.5, 2 / 3, 0.9, 1.0:
            for phases in 2, 3:
                try:
                    run(
                        f"edge_one_cycle_{anneal}_{phases}_{total}_{pct_start}",
                        lambda optimizer: lr_scheduler.OneCycleLR(
                            optimizer,
                            max_lr=1.0,
                            total_steps=total,
                            pct_start=pct_start,
                            anneal_strategy=anneal,
                            three_phase=phases == 3,
                        ),
                        total,
                    )
                except ZeroDivisionError:
                    assert abs(pct_start * total - 1.0) < 1e-15, (pct_start, total)

for up, down in (1, 1), (1, 2), (2, 1), (1.5, 1.5):
    run(f"edge_cyclic_{up}_{down}", cyclic(step_size_up=up, step_size_down=down), 12)
run(
    "edge_cyclic_equal_bounds",
    lambda optimizer: lr_scheduler.CyclicLR(optimizer, base_lr=0.5, max_lr=0.5, step_size_up=2),
    12,
)
for first, mult in (1, 1), (1, 2), (1, 3), (2, 1):
    run(
        f"edge_warm_restarts_{first}_{mult}",
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=first, T_mult=mult, eta_min=0.1),
        16,
    )
for steps in 1, 2, 3:
    # Up to its end: after that PyTorch's goes up again, and ours stays.
    run(f"edge_cosine_{steps}", lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=steps, eta_min=0.1), steps + 1)
    run(f"edge_polynomial_{steps}", lambda o: lr_scheduler.PolynomialLR(o, total_iters=steps, power=2.0), 5)
    run(f"edge_linear_{steps}", lambda o: lr_scheduler.LinearLR(o, start_factor=0.5, total_iters=steps), 5)
    run(f"edge_step_{steps}", lambda o: lr_scheduler.StepLR(o, step_size=steps, gamma=0.5), 7)
    run(f"edge_multistep_{steps}", lambda o: lr_scheduler.MultiStepLR(o, milestones=[steps, steps + 1], gamma=0.5), 7)


# Keras's own schedules, in float64

keras.config.set_floatx("float64")


def keras_schedule(name, schedule, steps):
    CASES[f"keras_{name}"] = [float(schedule(step)) for step in range(steps)]


decays = keras.optimizers.schedules
for steps in 1, 2, 10:
    keras_schedule(f"cosine_decay_{steps}", decays.CosineDecay(0.5, steps, alpha=0.1), steps + 5)
    keras_schedule(f"polynomial_decay_{steps}", decays.PolynomialDecay(0.5, steps, end_learning_rate=0.0, power=2.0), steps + 5)
    keras_schedule(f"linear_decay_{steps}", decays.PolynomialDecay(0.5, steps, end_learning_rate=0.1), steps + 5)
    keras_schedule(f"exponential_decay_{steps}", decays.ExponentialDecay(0.5, steps, 0.9), 30)
    keras_schedule(f"staircase_decay_{steps}", decays.ExponentialDecay(0.5, steps, 0.9, staircase=True), 30)
    keras_schedule(f"inverse_time_decay_{steps}", decays.InverseTimeDecay(0.5, steps, 0.9), 30)
# Its boundaries are the last steps of the old value.
keras_schedule("piecewise_3_7", decays.PiecewiseConstantDecay([3, 7], [1.0, 0.5, 0.25]), 12)


# Restarts and peaks by any factor

for first, mult, m_mul, alpha in (
    (8, 1.5, 1.0, 0.0),
    (8, 1.5, 0.7, 0.1),
    (10, 1.1, 0.9, 0.2),
    (5, 2, 0.5, 0.1),
    (7, 1, 1.2, 0.05),
    (40, 0.5, 0.8, 0.1),
    (30, 0.75, 1.0, 0.0),
):
    schedule = decays.CosineDecayRestarts(0.5, first, t_mul=mult, m_mul=m_mul, alpha=alpha)
    # Cycles of less than a step follow.
    steps = int(first / (1 - mult)) - 3 if mult < 1 else 150
    CASES[f"keras_restarts_{first}_{mult}_{m_mul}_{alpha}"] = [float(schedule(step)) for step in range(steps)]

for first, mult, decay, low in (
    (8, 1.5, 1.0, 0.0),
    (8, 1.5, 0.7, 0.01),
    (10, 1.1, 0.9, 0.02),
    (5, 2, 0.5, 0.001),
    (7, 1, 1.2, 0.05),
    (40, 0.5, 0.8, 0.01),
):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = CosineLRScheduler(
        optimizer, first, lr_min=low, cycle_mul=mult, cycle_decay=decay, cycle_limit=1000
    )
    steps = int(first / (1 - mult)) - 3 if mult < 1 else 150
    CASES[f"timm_cosine_{first}_{mult}_{decay}_{low}"] = [schedule._get_lr(step)[0] for step in range(steps)]

for factor in 0.5, 0.7, 1.3:
    run(
        f"torch_cyclic_scale_fn_{factor}",
        cyclic(step_size_up=3, step_size_down=4, scale_fn=lambda cycle: factor ** (cycle - 1), scale_mode="cycle"),
        90,
    )


# Keras: bckenstler/CLR, clr_callback.py, `clr()`


def keras_callback(mode, iterations, base_lr=0.001, max_lr=0.006, step_size=7.0, gamma=0.99):
    scale_fn, scale_mode = {
        "triangular": (lambda x: 1.0, "cycle"),
        "triangular2": (lambda x: 1 / (2.0 ** (x - 1)), "cycle"),
        "exp_range": (lambda x: gamma**x, "iterations"),
    }[mode]
    cycle = math.floor(1 + iterations / (2 * step_size))
    x = abs(iterations / step_size - 2 * cycle + 1)
    scale = scale_fn(cycle if scale_mode == "cycle" else iterations)
    return base_lr + (max_lr - base_lr) * max(0, (1 - x)) * scale


for mode in "triangular", "triangular2", "exp_range":
    CASES[f"keras_{mode}"] = [keras_callback(mode, step) for step in range(60)]
    CASES[f"edge_keras_{mode}_1"] = [keras_callback(mode, step, step_size=1.0) for step in range(12)]
    CASES[f"edge_keras_{mode}_1.5"] = [keras_callback(mode, step, step_size=1.5) for step in range(12)]
    CASES[f"edge_keras_{mode}_equal_bounds"] = [keras_callback(mode, step, max_lr=0.001) for step in range(12)]


# Caffe: appendix A of the paper; the paper's words for exp_range; Smith's instructions of March 2017


def caffe(policy, itr, base=0.01, top=0.026, stepsize=9, gamma=0.98):
    cycle = itr // (2 * stepsize)
    x = (itr - (2 * cycle + 1) * stepsize) / stepsize
    if policy == "triangular":
        return base + (top - base) * max(0.0, 1.0 - abs(x))
    if policy == "triangular2":
        return base + (top - base) * min(1.0, max(0.0, (1.0 - abs(x)) / 2.0**cycle))
    if policy == "triangular_over_cycle":
        return base + (top - base) * max(0.0, (1.0 - abs(x)) / (cycle + 1))
    if policy == "exp_range":
        return gamma**itr * (base + (top - base) * max(0.0, 1.0 - abs(x)))


for policy in "triangular", "triangular2", "triangular_over_cycle", "exp_range":
    CASES[f"caffe_{policy}"] = [caffe(policy, step) for step in range(70)]


# Torch7: the same appendix. Epochs count from 1, three iterations each here.


def torch7(epoch, lr=0.1, max_lr=0.3, stepsize=8.2):
    cycle = math.floor(1 + epoch / (2 * stepsize))
    x = abs(epoch / stepsize - 2 * cycle + 1)
    return lr + (max_lr - lr) * max(0, (1 - x))


CASES["torch7_triangular_8.2_epochs"] = [torch7(1 + step // 3) for step in range(120)]


# 1cycle: what the logs of Smith's Caffe runs hold (github.com/lnsmith54/hyperParam1), and fastai's


def smith_one_cycle(it, base=0.1, top=1.0, stepsize=20):
    if it <= stepsize:
        return base + (top - base) * it / stepsize
    if it < 2 * stepsize:
        return max(top * (2 * stepsize - it) / stepsize, base / 1000)
    return base / 1000


CASES["smith_one_cycle"] = [smith_one_cycle(step) for step in range(50)]


def fastai_one_cycle(start, middle, end, step, steps=40, pct_start=0.25):
    """combined_cos(pct_start, start, middle, end), as `fit_one_cycle` calls it before batch `step`."""
    sched_cos = lambda start, end, pos: start + (1 + math.cos(math.pi * (1 - pos))) * (end - start) / 2
    pos = step / steps
    if pos < pct_start:
        return sched_cos(start, middle, pos / pct_start)
    return sched_cos(middle, end, (pos - pct_start) / (1 - pct_start))


CASES["fastai_one_cycle"] = [fastai_one_cycle(0.02, 0.5, 0.5 / 1e5, step) for step in range(40)]
CASES["fastai_one_cycle_momentum"] = [fastai_one_cycle(0.95, 0.85, 0.95, step) for step in range(40)]


# Range tests: pytorch-lr-finder's LinearLR and ExponentialLR (it takes n - 1 steps), fastai's (n steps)

CASES["lr_finder_linear"] = [1e-4 + i / 29 * (1.0 - 1e-4) for i in range(30)]
CASES["lr_finder_exponential"] = [1e-7 * (10 / 1e-7) ** (i / 29) for i in range(30)]
CASES["fastai_lr_find"] = [1e-7 * (10 / 1e-7) ** (i / 30) for i in range(30)]


lines = [",".join([case, *map(repr, values)]) + "\n" for case, values in CASES.items()]
pathlib.Path(__file__).with_name("goldens.csv").write_text("".join(lines))
