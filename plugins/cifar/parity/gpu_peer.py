#!/usr/bin/env python3
"""What PyTorch reaches on a GPU with the CIFAR networks: ms per iteration of one model, and of K models as one.

    python gpu_peer.py [--arch cifar10_quick ...] [--precision f32 tf32 bf16] [--mode eager ...] [--trials 1 8 32 128]

One iteration is the forward pass, cross-entropy, the backward pass and a step of SGD with momentum 0.9 and weight
decay, at a learning rate that changes every time. The images are random and on the GPU already; nothing is read back.
The modes:

    eager     one model, as one writes it: channels-last, the fused optimizer
    compiled  the same under torch.compile(mode="reduce-overhead")
    graph     one model, its whole iteration in one CUDA graph, the learning rate in a tensor
    vmap      K models as one: torch.func.vmap over stacked weights, an optimizer of its own for each; in a CUDA graph
    grouped   K models as one: convolutions in K groups, other products batched; in a CUDA graph

All models see the same images, as a sweep over learning rates in clr-run does. Precisions: f32 (without TF32), tf32,
and bf16 (autocast). Prints a JSON object a line: the median, the least and the most ms of an iteration of all K models
over seven rounds, or the error of a mode that cannot do it. Needs torch; `--device cpu` tries the script without a GPU.
"""

import argparse
import copy
import functools
import json
import statistics
import time

import torch
import torch.nn.functional as F
from side_by_side import network
from torch import nn
from torch.func import functional_call, grad_and_value, replace_all_batch_norm_modules_, stack_module_state, vmap

MODES = ("eager", "compiled", "graph", "vmap", "grouped")
MOMENTUM, WEIGHT_DECAY = 0.9, 4e-3
ROUNDS = 7


class Setting:
    """A network, a precision, a batch and a device."""

    def __init__(self, arch, precision, batch, device):
        self.arch, self.precision, self.batch, self.device = arch, precision, batch, device
        self.images = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
        self.labels = torch.randint(10, (batch,), device=device)
        self.rate = torch.tensor(1e-3, device=device)

    def model(self):
        return network(self.arch).to(self.device).train()

    def cast(self):
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def schedule(self, iteration):
        """A new learning rate, in place: what holds the tensor sees it."""
        self.rate.fill_(1e-4 + 1e-6 * (iteration % 900))


def alone(setting, compiled):
    """A step of one model; not captured."""
    model = setting.model().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), setting.rate, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)

    def loss_of(images, labels):
        with setting.cast():
            scores = model(images)
        return F.cross_entropy(scores.float(), labels)

    loss_of = torch.compile(loss_of, mode="reduce-overhead") if compiled else loss_of

    def step():
        optimizer.zero_grad()
        loss_of(setting.images, setting.labels).backward()
        optimizer.step()

    return step


def grouped(setting, trials):
    """A step of `trials` models whose channels lie side by side. They share a learning rate, as clr-run's need not."""
    model = Grouped(setting.model(), trials).to(setting.device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), setting.rate, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
    labels = setting.labels.repeat(trials)

    def step():
        optimizer.zero_grad()
        with setting.cast():
            scores = model(setting.images)
        # The sum over the models of their mean losses.
        (F.cross_entropy(scores.float().flatten(0, 1), labels) * trials).backward()
        optimizer.step()

    return step


class Grouped(nn.Module):
    """Copies of a sequential network. [N, 3, H, W] to [copies, N, classes]."""

    def __init__(self, model, copies):
        super().__init__()
        self.copies = copies
        self.layers = nn.Sequential(*(self.widened(layer) for layer in model))

    def widened(self, layer):
        copies = self.copies
        if isinstance(layer, nn.Conv2d):
            return nn.Conv2d(
                layer.in_channels * copies,
                layer.out_channels * copies,
                layer.kernel_size,
                layer.stride,
                layer.padding,
                groups=copies,
                bias=layer.bias is not None,
            )
        if isinstance(layer, nn.BatchNorm2d):
            return nn.BatchNorm2d(layer.num_features * copies, affine=layer.affine)
        if isinstance(layer, nn.LocalResponseNorm):
            return OfEach(copy.deepcopy(layer), copies)
        if isinstance(layer, nn.Flatten):
            return Apart(copies)
        if isinstance(layer, nn.Linear):
            return BatchedLinear(copies, layer.in_features, layer.out_features)
        return copy.deepcopy(layer)

    def forward(self, images):
        return self.layers(images.repeat(1, self.copies, 1, 1))


class OfEach(nn.Module):
    """A layer that looks across channels, for each copy's own."""

    def __init__(self, layer, copies):
        super().__init__()
        self.layer, self.copies = layer, copies

    def forward(self, x):
        count, channels, height, width = x.shape
        each = x.reshape(count * self.copies, channels // self.copies, height, width)
        return self.layer(each).reshape(x.shape)


class Apart(nn.Module):
    """[N, copies * C, H, W] to [copies, N, C * H * W]."""

    def __init__(self, copies):
        super().__init__()
        self.copies = copies

    def forward(self, x):
        return x.reshape(x.shape[0], self.copies, -1).transpose(0, 1)


class BatchedLinear(nn.Module):
    """A linear layer for each copy, as one batched product."""

    def __init__(self, copies, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(copies, inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(copies, 1, outputs))

    def forward(self, x):
        return torch.baddbmm(self.bias.to(x.dtype), x, self.weight.to(x.dtype))


def vmapped(setting, trials):
    """A step of `trials` models, each with a learning rate of its own, batched by vmap."""
    # Running statistics are written in place, which vmap cannot do; training needs none.
    models = [replace_all_batch_norm_modules_(setting.model()) for _ in range(trials)]
    stacked, buffers = stack_module_state(models)
    weights = {name: value.detach().clone() for name, value in stacked.items()}
    velocities = {name: torch.zeros_like(value) for name, value in weights.items()}
    factors = torch.linspace(0.5, 1.5, trials, device=setting.device)

    def loss_of(weights, buffers, images, labels):
        with setting.cast():
            scores = functional_call(models[0], (weights, buffers), (images,))
        return F.cross_entropy(scores.float(), labels)

    gradients_of = vmap(grad_and_value(loss_of), in_dims=(0, 0, None, None), randomness="different")

    def step():
        gradients, _ = gradients_of(weights, buffers, setting.images, setting.labels)
        with torch.no_grad():
            rates = setting.rate * factors
            for name, weight in weights.items():
                rate = rates.view(-1, *[1] * (weight.dim() - 1))
                velocities[name].mul_(MOMENTUM).add_((gradients[name] + WEIGHT_DECAY * weight) * rate)
                weight.sub_(velocities[name])

    return step


def captured(step, device):
    """The step as one CUDA graph."""
    if device != "cuda":
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def make(setting, mode, trials):
    if mode in ("eager", "compiled"):
        return alone(setting, compiled=mode == "compiled")
    uncaptured = {
        "graph": functools.partial(alone, setting, compiled=False),
        "vmap": functools.partial(vmapped, setting, trials),
        "grouped": functools.partial(grouped, setting, trials),
    }[mode]()
    return captured(uncaptured, setting.device)


def timed(setting, step, seconds):
    """Milliseconds of an iteration in each round; a round takes about `seconds`."""
    wait = torch.cuda.synchronize if setting.device == "cuda" else lambda: None
    done = 0

    def round_of(count):
        nonlocal done
        wait()
        begin = time.perf_counter()
        for _ in range(count):
            setting.schedule(done)
            step()
            done += 1
        wait()
        return (time.perf_counter() - begin) / count

    round_of(10)
    count = max(2, int(seconds / max(round_of(5), 1e-6)))
    return [1e3 * round_of(count) for _ in range(ROUNDS)]


def measure(setting, mode, trials, seconds):
    row = {"arch": setting.arch, "precision": setting.precision, "mode": mode, "trials": trials, "batch": setting.batch}
    torch.manual_seed(0)
    try:
        rounds = timed(setting, make(setting, mode, trials), seconds)
    except Exception as error:  # One mode's failure must not end the others, whatever PyTorch throws.
        return {**row, "error": f"{type(error).__name__}: {error}"[:300]}
    ms = statistics.median(rounds)
    return {
        **row,
        "ms": ms,
        "ms_least": min(rounds),
        "ms_most": max(rounds),
        "rounds": ROUNDS,
        "images_per_s": round(1e3 * setting.batch * trials / ms),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", nargs="+", default=["cifar10_quick", "cifar10_full", "cifar10_full_sigmoid_bn"])
    parser.add_argument("--precision", nargs="+", choices=("f32", "tf32", "bf16"), default=["f32", "tf32", "bf16"])
    parser.add_argument("--mode", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--trials", nargs="+", type=int, default=[1, 8, 32, 128], help="K, of vmap and grouped")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each of the seven rounds")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args()
    # Convolutions are tried out for the fastest before anything is timed.
    torch.backends.cudnn.benchmark = True
    for arch in options.arch:
        for precision in options.precision:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "f32"
            setting = Setting(arch, precision, options.batch, options.device)
            for mode in options.mode:
                for trials in options.trials if mode in ("vmap", "grouped") else [1]:
                    print(json.dumps(measure(setting, mode, trials, options.seconds)), flush=True)
                    if options.device == "cuda":
                        torch.cuda.empty_cache()
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(json.dumps({"device": device, "torch": torch.__version__, "mode": "", "trials": 0}))


if __name__ == "__main__":
    main()
