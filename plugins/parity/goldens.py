"""Trains networks in PyTorch, in float64, and writes down what came of it, for the crate `clr-parity` to compare with.

A plugin's `goldens/make_goldens.py` has its networks and calls `golden` and `write`. Images, labels, initial weights, batches
and learning rates come from formulas that the tests compute too, so that a golden holds results alone.
"""

import json
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

TRAIN, TEST = 40, 8


def mixed(x):
    """The finalizer of MurmurHash3 on an array of uint32."""
    x = np.asarray(x, dtype=np.uint64) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(13)
    x = (x * np.uint64(0xC2B2AE35)) & np.uint64(0xFFFFFFFF)
    return x ^ (x >> np.uint64(16))


def unit(seed, count):
    """Numbers in -1 to 1, by hash."""
    bits = mixed((np.arange(count, dtype=np.uint64) + np.uint64(seed)) & np.uint64(0xFFFFFFFF))
    return (bits >> np.uint64(8)).astype(np.float64) / 8388608.0 - 1.0


def images(first, count, size, classes):
    """Labels at random, and noise with a band of rows that is a little brighter, by label."""
    n, y, x, c = np.meshgrid(np.arange(first, first + count), *map(np.arange, (size, size, 3)), indexing="ij")
    labels = (mixed(np.arange(first, first + count) + 77) % np.uint64(classes)).astype(np.int64)
    noise = (mixed(((n * size + y) * size + x) * 3 + c) & np.uint64(127)).astype(np.float64)
    pixels = noise + 10.0 * (y * classes // size == labels[:, None, None, None])
    # The mean that is subtracted is 80 for red and 64 for the others.
    pixels = (pixels - np.where(c == 0, 80.0, 64.0)) / 64.0
    return torch.tensor(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


class Layout:
    """Where a parameter's values lie in clr-run: convolutions [height][width][in][out], linear layers [in][out] where what
    is flattened has its channels last. `flattened` has the (channels, height, width) of what linear layers flatten."""

    def __init__(self, flattened):
        self.flattened = flattened

    def there(self, name, tensor):
        """From PyTorch's layout."""
        if tensor.dim() == 4:
            return tensor.permute(2, 3, 1, 0).contiguous()
        if tensor.dim() == 2:
            if name in self.flattened:
                tensor = tensor.reshape(-1, *self.flattened[name]).permute(0, 2, 3, 1).reshape(tensor.shape)
            return tensor.t().contiguous()
        return tensor

    def back(self, name, tensor):
        """To PyTorch's layout."""
        if tensor.dim() == 4:
            return tensor.permute(3, 2, 0, 1).contiguous()
        if tensor.dim() == 2:
            tensor = tensor.t().contiguous()
            if name in self.flattened:
                c, h, w = self.flattened[name]
                tensor = tensor.reshape(-1, h, w, c).permute(0, 3, 1, 2).reshape(tensor.shape)
            return tensor
        return tensor


@torch.no_grad()
def set_weights(module, layout, gain):
    for name, parameter in module.named_parameters():
        shape = layout.there(name, parameter).shape
        if len(shape) == 4:
            middle, half_width = 0.0, gain / math.sqrt(shape[0] * shape[1] * shape[2])
        elif len(shape) == 2:
            middle, half_width = 0.0, gain / math.sqrt(shape[0])
        elif name.endswith(".weight"):
            middle, half_width = 1.0, 0.25
        else:
            middle, half_width = 0.0, 0.1
        seed = 0x811C9DC5
        for byte in name.encode():
            seed = ((seed ^ byte) * 0x01000193) & 0xFFFFFFFF
        values = (middle + unit(seed, math.prod(shape)) * half_width).astype(np.float32).astype(np.float64)
        parameter.copy_(layout.back(name, torch.tensor(values).reshape(shape)))


def losses(outputs, labels):
    """The loss that is reported, and the one that is trained: `outputs` are scores, or scores and a list of (scores, weight) of
    auxiliary heads, whose losses are not reported."""
    scores, heads = outputs if isinstance(outputs, tuple) else (outputs, [])
    loss = F.cross_entropy(scores, labels)
    return loss, loss + sum(weight * F.cross_entropy(head, labels) for head, weight in heads)


def digits(values, count=9):
    return [float(f"{float(value):.{count}g}") for value in values]


def train(kind, make, layout, data, gain, max_lr, batch, steps, nesterov, weight_decay, multipliers):
    """Scores of the initial weights; gradients of the first batch and scores after it; and a training's losses, norms of
    gradients, and last scores. With 0 steps the first alone."""
    (train_images, train_labels), test_images = data
    train_images, test_images = train_images.to(kind), test_images.to(kind)

    def loss_of(module, step):
        # Every fifth batch is a smaller one.
        count = batch - 3 if step % 5 == 4 else batch
        chosen = (step * batch + np.arange(count)) * 7 % TRAIN
        loss, trained = losses(module(train_images[chosen]), train_labels[chosen])
        module.zero_grad()
        trained.backward()
        return loss.item()

    def scores_of(module):
        module.eval()
        with torch.no_grad():
            scores = module(test_images).flatten().double().numpy()
        module.train()
        return scores

    def made():
        module = make().train()
        set_weights(module, layout, gain)
        return module.to(kind)

    module = made()
    first_scores, count = scores_of(module), sum(parameter.numel() for parameter in module.parameters())
    if not steps:
        return first_scores, count
    module = made()
    loss_of(module, 0)
    gradients = {}
    for name, parameter in module.named_parameters():
        gradient = layout.there(name, parameter.grad.double()).flatten().numpy()
        products = [gradient @ unit(seed, len(gradient)) for seed in (0x5EED0001, 0x5EED0002)]
        gradients[name] = [np.linalg.norm(gradient), *products]
    scores = scores_of(module)

    module = made()
    named = list(module.named_parameters())
    groups = [{"params": [parameter]} for _, parameter in named]
    solver = torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=nesterov)
    loss, grad_norm = [], []
    for step in range(steps):
        # Up and down in 20 steps, from a tenth of the peak.
        lr = float(np.float32(max_lr * (0.1 + 0.9 * (1 - abs(step % 20 - 10) / 10))))
        for (name, _), group in zip(named, solver.param_groups):
            lr_mult, decay_mult = multipliers(name)
            group["lr"], group["weight_decay"] = lr * lr_mult, float(np.float32(weight_decay)) * decay_mult
        loss.append(loss_of(module, step))
        grad_norm.append(math.sqrt(sum(float((parameter.grad.double() ** 2).sum()) for _, parameter in named)))
        solver.step()
    return first_scores, count, gradients, scores, np.array(loss), grad_norm, scores_of(module)


def golden(model, options, make, size, max_lr, *, classes=4, batch=8, steps=30, gain=1.5, optimizer=None, weight_decay=1e-4,
           multipliers=lambda name: (1.0, 1.0), flattened={}):
    """`make()` gives the module, whose parameters have the names that they have in clr-run; `multipliers(name)` are those of
    its learning rate and weight decay, `gain` the size of the initial weights. Says how far PyTorch's own float32 is from it, to choose cases in which no near tie of
    a max pooling and no ReLU is decided by rounding."""
    layout = Layout(flattened)
    optimizer = optimizer or {"optimizer": "nesterov", "form": "torch"}
    assert optimizer["optimizer"] in ("sgd", "nesterov"), optimizer
    data = images(0, TRAIN, size, classes), images(TRAIN, TEST, size, classes)[0]
    exact, rounded = (
        train(kind, make, layout, data, gain, max_lr, batch, steps, optimizer["optimizer"] == "nesterov", weight_decay,
              multipliers)
        for kind in (torch.float64, torch.float32)
    )
    case = {
        "model": model, "options": options, "size": size, "classes": classes, "batch": batch, "gain": gain,
        "optimizer": optimizer, "max_lr": max_lr, "weight_decay": weight_decay, "parameter_count": exact[1],
        "first_scores": digits(exact[0]),
    }
    if not steps:
        return case
    _, _, gradients, scores, loss, grad_norm, last_scores = exact
    apart = [
        max(np.abs(np.subtract(value, rounded[2][name])).max() / max(value[0], 1e-3 * grad_norm[0])
            for name, value in gradients.items()),
        np.abs(scores - rounded[3]).max() / np.abs(scores).max(),
        (np.abs(loss - rounded[4]) / loss)[:5].max(),
        (np.abs(loss - rounded[4]) / loss).max(),
        np.abs(last_scores - rounded[6]).max() / np.abs(last_scores).max(),
    ]
    names = ("gradients", "scores", "first losses", "losses", "last scores")
    float32 = ", ".join(f"{name} {value:.1e}" for name, value in zip(names, apart))
    print(f"{model} {options} at {size}: losses {digits(loss[::6], 4)}; float32 is off by: {float32}", file=sys.stderr)
    return case | {
        "gradients": {name: digits(value) for name, value in gradients.items()}, "scores": digits(scores),
        "loss": digits(loss), "grad_norm": digits(grad_norm, 7), "last_scores": digits(last_scores),
    }


def write(goldens):
    print("[\n" + ",\n".join(json.dumps(golden) for golden in goldens) + "\n]")
