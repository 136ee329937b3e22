"""Forward and backward passes of small layers in PyTorch, and steps of optimizers, for the tests of this crate.

    pip install torch numpy
    python make_goldens_layers.py

A file for each operation, in the folder of this script. Images are NHWC in the files, and all is computed in float64 from values with few digits. Torch's forms of the optimizers are
torch.optim; Caffe's are transcribed from sgd_solver.cpp and its neighbours.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
random = np.random.default_rng(20170404)


def draw(*shape):
    # Distinct in each window with near certainty, and exact in f32 to 7 digits.
    return torch.tensor(np.round(random.uniform(-2, 2, shape), 4))


def flat(tensor):
    """NCHW to NHWC where there are four axes, then eight digits."""
    tensor = tensor.detach()
    tensor = tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor
    return [float(f"{value:.8g}") for value in tensor.flatten().tolist()]


def layer(shape, function, parameters=(), sizes=None, **scalars):
    """`shape` is (batch, height, width, channels)."""
    batch, height, width, channels = shape
    x = draw(batch, channels, height, width).requires_grad_()
    parameters = {name: value.requires_grad_() for name, value in parameters}
    y = function(x, **parameters)
    dy = draw(*y.shape)
    y.backward(dy)
    tensors = {"x": x, "y": y, "dy": dy, "dx": x.grad}
    for name, value in parameters.items():
        tensors[name], tensors["d" + name] = value, value.grad
    shape = {**dict(zip(("batch", "height", "width", "channels"), shape)), **(sizes or {})}
    return {"shape": shape, **scalars, **{name: flat(value) for name, value in tensors.items()}}


def pools(average):
    windows = [(6, 5, 3, 2, 0), (7, 4, 3, 2, 1), (5, 5, 2, 2, 0), (6, 6, 2, 3, 1), (4, 4, 3, 1, 1)]
    for height, width, size, stride, pad in windows:
        arguments = {"kernel_size": size, "stride": stride, "padding": pad, "ceil_mode": True}
        maximum = lambda x: F.max_pool2d(x, **arguments)
        mean = lambda x: F.avg_pool2d(x, count_include_pad=True, **arguments)
        sizes = {"size": size, "stride": stride, "pad": pad}
        yield layer((2, height, width, 3), mean if average else maximum, sizes=sizes)


def pool_forms(average):
    """Roundings and divisors that Caffe has not, large windows, and whole images."""
    windows = [
        # height, width, size, stride, pad, ceil_mode, count_include_pad
        (7, 6, 3, 2, 1, False, True),
        (6, 8, 3, 2, 0, False, True),
        (5, 6, 3, 1, 1, False, True),
        (6, 5, 3, 1, 1, False, False),
        (7, 6, 5, 3, 2, True, False),
        (7, 7, 7, 1, 0, False, True),
    ]
    if average:
        windows += [(17, 18, 16, 3, 2, True, True), (17, 17, 17, 4, 8, False, False)]
    for height, width, size, stride, pad, ceil, include in windows:
        window = {"kernel_size": size, "stride": stride, "padding": pad, "ceil_mode": ceil}
        maximum = lambda x: F.max_pool2d(x, **window)
        mean = lambda x: F.avg_pool2d(x, count_include_pad=include, **window)
        sizes = {"size": size, "stride": stride, "pad": pad}
        modes = {"ceil_mode": ceil, "count_include_pad": include}
        yield layer((1, height, width, 3), mean if average else maximum, sizes=sizes, **modes)
    if average:
        for height, width in [(8, 8), (3, 5), (18, 2)]:
            # One window, as large as the larger side, that hangs over.
            sizes = {"size": max(height, width), "stride": max(height, width), "pad": 0}
            yield layer((2, height, width, 3), lambda x: F.adaptive_avg_pool2d(x, 1), sizes=sizes)


def response_norms():
    for size, alpha, beta in [(5, 0.8, 0.75), (3, 0.5, 0.6)]:
        scalars = {"alpha": alpha, "beta": beta}
        across = lambda x: F.local_response_norm(x, size, alpha, beta, 1.0)
        yield layer((2, 3, 2, 7), across, sizes={"size": size, "within": 0}, **scalars)
        # There is no such layer in PyTorch; this is Caffe's formula, by layers that there are.
        within = lambda x: x * (1 + alpha * F.avg_pool2d(x * x, size, 1, size // 2)) ** -beta
        yield layer((2, 5, 4, 3), within, sizes={"size": size, "within": 1}, **scalars)


def batch_norms():
    epsilon = 1e-3
    normalize = lambda x, **affine: F.batch_norm(x, None, None, training=True, eps=epsilon, **affine)
    yield layer((3, 4, 5, 3), normalize, epsilon=epsilon)
    yield layer((3, 4, 5, 3), normalize, [("weight", draw(3)), ("bias", draw(3))], epsilon=epsilon)


# Optimizers: five steps of six weights, with a learning rate that changes.

RATES = [0.1, 0.3, 0.2, 0.05, 0.4]
MOMENTUM, BETA1, BETA2, RMS_DECAY, RHO = 0.9, 0.8, 0.95, 0.7, 0.6
DECAY = 0.1
# Large, so that it matters where it stands.
EPSILON = 0.05


def caffe(kind, w, gradients):
    h, u, largest, results = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w), []
    for it, (rate, g) in enumerate(zip(RATES, gradients)):
        g = g + DECAY * w
        if kind == "sgd":
            h = MOMENTUM * h + rate * g
            update = h
        elif kind == "nesterov":
            before = h
            h = MOMENTUM * h + rate * g
            update = (1 + MOMENTUM) * h - MOMENTUM * before
        elif kind in ("adam", "amsgrad"):  # Caffe has no AMSGrad: this is its Adam with the largest u.
            h = BETA1 * h + (1 - BETA1) * g
            u = BETA2 * u + (1 - BETA2) * g * g
            correction = np.sqrt(1 - BETA2 ** (it + 1)) / (1 - BETA1 ** (it + 1))
            largest = np.maximum(largest, u)
            update = rate * correction * h / (np.sqrt(u if kind == "adam" else largest) + EPSILON)
        elif kind == "rmsprop":
            h = RMS_DECAY * h + (1 - RMS_DECAY) * g * g
            update = rate * g / (np.sqrt(h) + EPSILON)
        elif kind == "adagrad":
            h = h + g * g
            update = rate * g / (np.sqrt(h) + EPSILON)
        elif kind == "adadelta":
            h = RHO * h + (1 - RHO) * g * g
            update = g * np.sqrt((u + EPSILON) / (h + EPSILON))
            u = RHO * u + (1 - RHO) * update * update
            update = rate * update
        w = w - update
        results.append(w)
    return results


TORCH = {
    "sgd": lambda w: torch.optim.SGD(w, momentum=MOMENTUM, weight_decay=DECAY),
    "nesterov": lambda w: torch.optim.SGD(w, momentum=MOMENTUM, nesterov=True, weight_decay=DECAY),
    "adam": lambda w: torch.optim.Adam(w, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=DECAY),
    "adamw": lambda w: torch.optim.AdamW(w, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=DECAY),
    "rmsprop": lambda w: torch.optim.RMSprop(w, alpha=RMS_DECAY, eps=EPSILON, weight_decay=DECAY),
    "adagrad": lambda w: torch.optim.Adagrad(w, eps=EPSILON, weight_decay=DECAY),
    "adadelta": lambda w: torch.optim.Adadelta(w, rho=RHO, eps=EPSILON, weight_decay=DECAY),
    "amsgrad": lambda w: torch.optim.Adam(w, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=DECAY, amsgrad=True),
}


def pytorch(kind, w, gradients):
    w, results = w.clone().requires_grad_(), []
    optimizer = TORCH[kind]([w])
    for rate, g in zip(RATES, gradients):
        optimizer.param_groups[0]["lr"] = rate
        w.grad = g.clone()
        optimizer.step()
        results.append(w.detach().clone())
    return results


def optimizers():
    for kind in TORCH:
        w, gradients = draw(6), [draw(6) for _ in RATES]
        inputs = {"rule": kind, "w": flat(w), "gradients": flat(torch.cat(gradients))}
        yield {"shape": {"caffe": 0}, **inputs, "results": flat(torch.cat(pytorch(kind, w, gradients)))}
        if kind != "adamw":
            results = np.concatenate(caffe(kind, w.numpy(), [g.numpy() for g in gradients]))
            yield {"shape": {"caffe": 1}, **inputs, "results": flat(torch.tensor(results))}


FILES = {
    "max_pool": pools(average=False),
    "average_pool": pools(average=True),
    "lrn": response_norms(),
    "batch_norm": batch_norms(),
    "relu": [layer((2, 2, 3, 4), F.relu)],
    "sigmoid": [layer((2, 2, 3, 4), torch.sigmoid)],
    "optimizer": optimizers(),
    "max_pool_forms": pool_forms(average=False),
    "average_pool_forms": pool_forms(average=True),
}
for name, cases in FILES.items():
    lines = ",\n".join(json.dumps(case) for case in cases)
    pathlib.Path(__file__).with_name(f"{name}.json").write_text(f"[\n{lines}\n]\n")
