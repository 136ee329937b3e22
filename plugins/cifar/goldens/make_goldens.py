"""Trains the networks of this plugin in PyTorch, in float64, and writes the curves that `tests/curves.rs` compares with.

    pip install torch numpy
    python make_goldens.py > curves.json
    python make_goldens.py accumulate > accumulate.json
    python make_goldens.py groups > groups.json

Images, labels, initial weights, batches and learning rates come from formulas that the test computes too, so that the file
holds results alone. Networks follow the prototxt files of Caffe's examples/cifar10; Caffe's solvers are transcribed from
sgd_solver.cpp and its neighbours, Torch's are torch.optim.
"""

import json
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

CLASSES, TRAIN, TEST, BATCH, STEPS = 4, 40, 12, 8, 50


def mixed(x):
    """The finalizer of MurmurHash3 on an array of uint32."""
    x = np.asarray(x, dtype=np.uint64) & 0xFFFFFFFF
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(13)
    x = (x * np.uint64(0xC2B2AE35)) & np.uint64(0xFFFFFFFF)
    return x ^ (x >> np.uint64(16))


def images(first, count, size):
    """Labels at random, and noise with a band of rows that is a little brighter, by label."""
    n, y, x, c = np.meshgrid(np.arange(first, first + count), *map(np.arange, (size, size, 3)), indexing="ij")
    labels = mixed(np.arange(first, first + count) + 77) % np.uint64(CLASSES)
    noise = mixed(((n * size + y) * size + x) * 3 + c) & np.uint64(127)
    band = (y * CLASSES // size == labels[:, None, None, None]).astype(np.uint64) * np.uint64(10)
    # The mean that is subtracted is 80 for red and 64 for the others.
    return (noise + band).astype(np.float64) - np.where(c == 0, 80.0, 64.0), labels.astype(np.int64)


def weights(parameter, shape, scale):
    """Uniform in +-scale. `parameter` counts the network's parameters, weights and biases together."""
    count = math.prod(shape)
    bits = mixed(np.arange(count, dtype=np.uint64) + np.uint64(1_000_003 * (parameter + 1)))
    unit = (bits >> np.uint64(8)).astype(np.float64) / 16777216.0 * 2.0 - 1.0
    return torch.tensor((unit * np.float32(scale)).astype(np.float32).astype(np.float64).reshape(shape))


class Net:
    """Parameters in this project's layouts (HWIO; [in][out], NHWC order), made from formulas."""

    def __init__(self, forward, size):
        self.forward, self.size = forward, size
        self.parameters, self.mults, self.names, self.running = [], [], {}, {}
        self.training = True

    def parameter(self, name, shape, scale, lr_mult, decay_mult):
        if name not in self.names:
            self.names[name] = len(self.parameters)
            self.parameters.append(weights(len(self.parameters), shape, scale).requires_grad_())
            self.mults.append((lr_mult, decay_mult))
        return self.parameters[self.names[name]]

    def conv(self, name, x, filters, lr_bias=2.0, bias=True):
        channels = x.shape[1]
        # Larger than in the published nets, so that fifty steps from here exercise everything.
        scale = 0.01 if name == "conv1" else 1.5 / math.sqrt(25 * channels)
        w = self.parameter(name + ".weight", (5, 5, channels, filters), scale, 1.0, 1.0)
        b = self.parameter(name + ".bias", (filters,), 0.1, lr_bias, 1.0) if bias else None
        return F.conv2d(x, w.permute(3, 2, 0, 1), b, padding=2)

    def linear(self, name, x, outputs, weight_decay_mult=1.0, lr_bias=2.0, bias_decay_mult=1.0):
        x = x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x
        w = self.parameter(name + ".weight", (x.shape[1], outputs), 1.5 / math.sqrt(x.shape[1]), 1.0, weight_decay_mult)
        b = self.parameter(name + ".bias", (outputs,), 0.1, lr_bias, bias_decay_mult)
        return x @ w + b

    def norm(self, x):
        return x * (1 + 5e-5 * F.avg_pool2d(x * x, 3, 1, 1, count_include_pad=True)) ** -0.75

    def batch_norm(self, name, x):
        """Caffe's batch_norm_layer.cpp."""
        sums = self.running.setdefault(name, [0.0, 0.0, 0.0])
        if self.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            m = x.numel() // x.shape[1]
            sums[0] = 0.999 * sums[0] + mean.detach()
            sums[1] = 0.999 * sums[1] + variance.detach() * m / (m - 1)
            sums[2] = 0.999 * sums[2] + 1
        else:
            mean, variance = sums[0] / sums[2], sums[1] / sums[2]
        return (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)


def max_pool(x):
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def average_pool(x):
    return F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=True)


def quick(n, x):
    x = F.relu(max_pool(n.conv("conv1", x, 32)))
    x = average_pool(F.relu(n.conv("conv2", x, 32)))
    x = average_pool(F.relu(n.conv("conv3", x, 64)))
    return n.linear("ip2", n.linear("ip1", x, 64), CLASSES)


def full(n, x):
    x = n.norm(F.relu(max_pool(n.conv("conv1", x, 32))))
    x = n.norm(average_pool(F.relu(n.conv("conv2", x, 32))))
    x = average_pool(F.relu(n.conv("conv3", x, 64, lr_bias=1.0)))
    return n.linear("ip1", x, CLASSES, 250.0, 2.0, 0.0)


def sigmoid(n, x):
    x = torch.sigmoid(max_pool(n.conv("conv1", x, 32)))
    x = average_pool(torch.sigmoid(n.conv("conv2", x, 32)))
    x = average_pool(torch.sigmoid(n.conv("conv3", x, 64, lr_bias=1.0)))
    return n.linear("ip1", x, CLASSES, 0.0, 2.0, 0.0)


def sigmoid_bn(n, x):
    x = torch.sigmoid(n.batch_norm("bn1", max_pool(n.conv("conv1", x, 32, bias=False))))
    x = average_pool(torch.sigmoid(n.batch_norm("bn2", n.conv("conv2", x, 32, bias=False))))
    x = average_pool(torch.sigmoid(n.batch_norm("bn3", n.conv("conv3", x, 64, bias=False))))
    return n.linear("ip1", x, CLASSES, 1.0, 1.0, 0.0)


class Caffe:
    """Caffe's solvers. Clipping comes before weight decay."""

    def __init__(self, kind, clip=0.0):
        self.kind, self.clip, self.history = kind, clip, {}

    def step(self, net, norm, lr, momentum, decay, it):
        scale = self.clip / norm if self.clip and norm > self.clip else 1.0
        for i, (w, (lr_mult, decay_mult)) in enumerate(zip(net.parameters, net.mults)):
            g = scale * w.grad + decay * decay_mult * w.detach()
            rate = lr * lr_mult
            h = self.history.setdefault(i, [torch.zeros_like(g), torch.zeros_like(g)])
            if self.kind == "sgd":
                h[0] = momentum * h[0] + rate * g
                update = h[0]
            elif self.kind == "nesterov":
                before = h[0]
                h[0] = momentum * h[0] + rate * g
                update = (1 + momentum) * h[0] - momentum * before
            elif self.kind == "adagrad":
                h[0] = h[0] + g * g
                update = rate * g / (h[0].sqrt() + 1e-8)
            elif self.kind == "rmsprop":
                h[0] = 0.99 * h[0] + 0.01 * g * g
                update = rate * g / (h[0].sqrt() + 1e-8)
            elif self.kind == "adadelta":
                h[0] = 0.9 * h[0] + 0.1 * g * g
                update = g * ((h[1] + 1e-8) / (h[0] + 1e-8)).sqrt()
                h[1] = 0.9 * h[1] + 0.1 * update * update
                update = rate * update
            elif self.kind == "adam":
                h[0] = 0.9 * h[0] + 0.1 * g
                h[1] = 0.999 * h[1] + 0.001 * g * g
                correction = math.sqrt(1 - 0.999 ** (it + 1)) / (1 - 0.9 ** (it + 1))
                update = rate * correction * h[0] / (h[1].sqrt() + 1e-8)
            with torch.no_grad():
                w -= update


class Torch:
    """torch.optim, a group for each parameter."""

    MAKERS = {
        "sgd": lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9),
        "nesterov": lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True),
        "adam": lambda groups: torch.optim.Adam(groups),
        "adamw": lambda groups: torch.optim.AdamW(groups),
        "rmsprop": lambda groups: torch.optim.RMSprop(groups),
        "adagrad": lambda groups: torch.optim.Adagrad(groups),
        "adadelta": lambda groups: torch.optim.Adadelta(groups),
    }

    def __init__(self, kind):
        self.kind, self.optimizer = kind, None

    def step(self, net, norm, lr, momentum, decay, it):
        if self.optimizer is None:
            self.optimizer = self.MAKERS[self.kind]([{"params": [w]} for w in net.parameters])
        for group, (lr_mult, decay_mult) in zip(self.optimizer.param_groups, net.mults):
            group["lr"], group["weight_decay"] = lr * lr_mult, decay * decay_mult
        self.optimizer.step()


class TorchGroups(Torch):
    """torch.optim, with groups of several parameters each; those that are in none are one more."""

    def __init__(self, kind, groups):
        super().__init__(kind)
        self.groups = groups

    def step(self, net, norm, lr, momentum, decay, it):
        if self.optimizer is None:
            named = {name for group in self.groups for name in group["parameters"]}
            rest = {"parameters": [name for name in net.names if name not in named], "lr_mult": 1.0, "decay_mult": 1.0}
            self.groups = [*self.groups, rest]
            self.optimizer = self.MAKERS[self.kind](
                [{"params": [net.parameters[net.names[name]] for name in group["parameters"]]} for group in self.groups]
            )
        for group, asked in zip(self.optimizer.param_groups, self.groups):
            group["lr"], group["weight_decay"] = lr * asked["lr_mult"], decay * asked["decay_mult"]
        self.optimizer.step()


def curve(forward, optimizer, max_lr, decay, size=32, accumulate=1):
    net = Net(forward, size)
    train_images, train_labels = images(0, TRAIN, size)
    rows = []

    def scores(pixels):
        return net.forward(net, torch.tensor(pixels).permute(0, 3, 1, 2))

    for it in range(STEPS):
        # Every fifth batch is a smaller one.
        count = BATCH - 3 if it % 5 == 4 else BATCH
        batch = (it * BATCH + np.arange(count)) * 7 % TRAIN
        # Up and down in 20 steps, from a tenth of the peak.
        lr = float(np.float32(max_lr * (0.1 + 0.9 * (1 - abs(it % 20 - 10) / 10))))
        net.training = True
        for parameter in net.parameters:
            parameter.grad = None
        # PyTorch's idiom, each part weighted by its samples: `backward` adds to the gradients that are there.
        loss, correct = 0.0, 0
        for part in range(0, count, BATCH // accumulate):
            chosen = batch[part : part + BATCH // accumulate]
            logits, labels = scores(train_images[chosen]), torch.tensor(train_labels[chosen])
            share = F.cross_entropy(logits, labels) * (len(chosen) / count)
            share.backward()
            loss, correct = loss + share.item(), correct + int((logits.argmax(1) == labels).sum())
        norm = math.sqrt(sum(float((w.grad**2).sum()) for w in net.parameters))
        rows.append((loss, norm, correct))
        optimizer.step(net, norm, lr, 0.9, decay, it)
    net.training = False
    with torch.no_grad():
        pixels, labels = images(TRAIN, TEST, size)
        logits, labels = scores(pixels), torch.tensor(labels)
        test_loss = F.cross_entropy(logits, labels).item()
        test_correct = int((logits.argmax(1) == labels).sum())
    return {
        "loss": [float(f"{row[0]:.8g}") for row in rows],
        "grad_norm": [float(f"{row[1]:.6g}") for row in rows],
        "test_loss": float(f"{test_loss:.8g}"),
        "test_correct": test_correct,
    }


CASES = [
    # Model, size of the images, optimizer, forward, optimizer here, peak learning rate, weight decay.
    ("cifar10_quick", 32, {"optimizer": "sgd"}, quick, lambda: Caffe("sgd"), 5e-4, 4e-3),
    ("cifar10_full", 32, {"optimizer": "sgd"}, full, lambda: Caffe("sgd"), 1e-3, 4e-3),
    ("cifar10_full", 11, {"optimizer": "sgd"}, full, lambda: Caffe("sgd"), 2e-3, 4e-3),
    ("cifar10_full_sigmoid", 32, {"optimizer": "sgd"}, sigmoid, lambda: Caffe("sgd"), 5e-3, 0.0),
    ("cifar10_full_sigmoid_bn", 32, {"optimizer": "sgd"}, sigmoid_bn, lambda: Caffe("sgd"), 1e-2, 1e-3),
]
RATES = {"sgd": 5e-4, "nesterov": 5e-4, "adam": 1e-4, "adamw": 1e-4, "rmsprop": 3e-5, "adagrad": 4e-4, "adadelta": 0.02}
for kind, lr in RATES.items():
    if kind not in ("sgd", "adamw"):  # The first is above, the second is not in Caffe.
        CASES.append(("cifar10_quick", 16, {"optimizer": kind}, quick, lambda kind=kind: Caffe(kind), lr, 4e-3))
    torch_options = {"optimizer": kind, "form": "torch"}
    CASES.append(("cifar10_quick", 16, torch_options, quick, lambda kind=kind: Torch(kind), lr, 4e-3))
clipped = {"optimizer": "sgd", "clip_gradients": 2.0}
CASES.append(("cifar10_quick", 16, clipped, quick, lambda: Caffe("sgd", 2.0), 1e-3, 4e-3))

# The same, and of how many batches an update is.
ACCUMULATE = [
    ("cifar10_quick", 16, {"optimizer": "nesterov"}, quick, lambda: Caffe("nesterov"), 5e-4, 4e-3, 4),
    ("cifar10_full_sigmoid_bn", 16, {"optimizer": "sgd"}, sigmoid_bn, lambda: Caffe("sgd"), 1e-2, 1e-3, 2),
    ("cifar10_full_sigmoid_bn", 16, {"optimizer": "adam", "form": "torch"}, sigmoid_bn, lambda: Torch("adam"), 1e-3, 1e-3, 4),
]

# A slow first layer, a frozen second, a quick last one, and biases without decay. What is in no group has the architecture's own
# multipliers, which are 1 for weights.
GROUPS = [
    {"parameters": ["conv1.weight"], "lr_mult": 0.1, "decay_mult": 1},
    {"parameters": ["conv1.bias"], "lr_mult": 0.1, "decay_mult": 0},
    {"parameters": ["conv2.weight", "conv2.bias"], "lr_mult": 0, "decay_mult": 1},
    {"parameters": ["conv3.bias", "ip1.bias"], "lr_mult": 1, "decay_mult": 0},
    {"parameters": ["ip2.weight", "ip2.bias"], "lr_mult": 3, "decay_mult": 0.5},
]
GROUPED = []
for kind in ("sgd", "nesterov", "adam", "adamw"):
    options = {"optimizer": kind, "form": "torch", "groups": GROUPS}
    # More decay than is published, so that it is seen.
    GROUPED.append(("cifar10_quick", 16, options, quick, lambda kind=kind: TorchGroups(kind, GROUPS), RATES[kind], 0.1))

lists = {"accumulate": ACCUMULATE, "groups": GROUPED}
goldens = []
for model, size, options, forward, optimizer, lr, decay, *accumulate in lists[sys.argv[1]] if sys.argv[1:] else CASES:
    result = curve(forward, optimizer(), lr, decay, size, *accumulate)
    more = {"accumulate": accumulate[0]} if accumulate else {}
    goldens.append({"model": model, "size": size, "options": options, "max_lr": lr, "weight_decay": decay, **more, **result})
    print(model, size, options, result["loss"][::7], result["test_loss"], file=sys.stderr)
print("[\n" + ",\n".join(json.dumps(golden) for golden in goldens) + "\n]")
