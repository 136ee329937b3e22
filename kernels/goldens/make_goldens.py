"""Makes the goldens of this folder: what PyTorch computes for each operation, in float64.

    pip install torch numpy
    python make_goldens.py

Every file is a list of cases. A case has its shapes ("shape") and flat tensors in the layouts of clr-kernels: images NHWC,
convolution weights [kernel_h][kernel_w][in_c / groups][out_c], weights of a fully connected layer [inputs][outputs].
Inputs are multiples of 1/8, so that they are short in text and exact in float32.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

FOLDER = Path(__file__).parent


def values(*shape):
    return torch.randint(-8, 9, shape).double() / 8


def numbers(tensor):
    """Nine digits: enough to tell float32 values apart."""
    return [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]


def conv2d(batch, in_h, in_w, in_c, out_c, kernel_h, kernel_w, stride, pad, groups):
    shape = dict(locals())
    x = values(batch, in_c, in_h, in_w).requires_grad_()
    w = values(out_c, in_c // groups, kernel_h, kernel_w).requires_grad_()
    bias = values(out_c).requires_grad_()
    y = F.conv2d(x, w, bias, stride=stride, padding=pad, groups=groups)
    dy = values(*y.shape)
    y.backward(dy)

    def nhwc(tensor):
        return numbers(tensor.permute(0, 2, 3, 1))

    def hwio(tensor):
        return numbers(tensor.permute(2, 3, 1, 0))

    tensors = dict(x=nhwc(x), w=hwio(w), bias=numbers(bias), dy=nhwc(dy))
    return dict(shape=shape, **tensors, y=nhwc(y), dx=nhwc(x.grad), dw=hwio(w.grad), db=numbers(bias.grad))


def linear(batch, inputs, outputs):
    shape = dict(locals())
    x, w, bias = (values(*sizes).requires_grad_() for sizes in [(batch, inputs), (outputs, inputs), (outputs,)])
    y = F.linear(x, w, bias)
    dy = values(batch, outputs)
    y.backward(dy)
    tensors = dict(x=numbers(x), w=numbers(w.T), bias=numbers(bias), dy=numbers(dy))
    return dict(shape=shape, **tensors, y=numbers(y), dx=numbers(x.grad), dw=numbers(w.grad.T), db=numbers(bias.grad))


def softmax_cross_entropy(batch, classes):
    shape = dict(locals())
    logits = (4 * values(batch, classes)).requires_grad_()
    labels = torch.randint(0, classes, (batch,))
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    correct = int((logits.argmax(1) == labels).sum())
    scores = dict(loss=numbers(loss)[0], correct=correct, dlogits=numbers(logits.grad))
    return dict(shape=shape, logits=numbers(logits), labels=labels.tolist(), **scores)


def weighted_losses(batch, classes):
    """A main loss and two auxiliary ones of weight 0.3, as in GoogLeNet."""
    shape = dict(locals())
    heads = {name: (4 * values(batch, classes)).requires_grad_() for name in ("main", "first", "second")}
    labels = torch.randint(0, classes, (batch,))
    # The weight as a float32 has it.
    weights = dict(main=1.0, first=torch.tensor(0.3).double(), second=torch.tensor(0.3).double())
    total = sum(weights[name] * F.cross_entropy(logits, labels) for name, logits in heads.items())
    total.backward()
    tensors = {name: numbers(logits) for name, logits in heads.items()}
    gradients = {"d" + name: numbers(logits.grad) for name, logits in heads.items()}
    return dict(shape=shape, labels=labels.tolist(), **tensors, total=numbers(total)[0], **gradients)


def top5(batch, classes):
    """Scores of distinct logits."""
    shape = dict(locals())
    logits = torch.stack([torch.randperm(classes).double() / 8 - 1 for _ in range(batch)]).requires_grad_()
    labels = torch.randint(0, classes, (batch,))
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    correct = int((logits.argmax(1) == labels).sum())
    among = int((logits.topk(5).indices == labels[:, None]).sum())
    scores = dict(loss=numbers(loss)[0], correct=correct, dlogits=numbers(logits.grad), top5=among)
    return dict(shape=shape, logits=numbers(logits), labels=labels.tolist(), **scores)


CASES = {
    conv2d: [
        (2, 6, 6, 3, 8, 5, 5, 1, 2, 1),
        (2, 7, 6, 4, 6, 3, 3, 2, 1, 2),
        (1, 9, 8, 2, 5, 4, 3, 3, 0, 1),
        (3, 4, 4, 5, 3, 1, 1, 1, 0, 1),
        # AlexNet's and GoogLeNet's: large kernels and strides, groups, a product, and a shape for Winograd's method.
        (1, 23, 19, 3, 4, 11, 11, 4, 0, 1),
        (1, 15, 14, 3, 5, 7, 7, 2, 3, 1),
        (1, 6, 5, 8, 6, 5, 5, 1, 2, 2),
        (2, 5, 4, 7, 9, 1, 1, 1, 0, 1),
        (1, 8, 7, 16, 16, 3, 3, 1, 1, 1),
        (1, 6, 6, 4, 6, 3, 3, 1, 1, 2),
    ],
    linear: [(5, 12, 7), (3, 4, 20)],
    softmax_cross_entropy: [(6, 10), (4, 3)],
    weighted_losses: [(5, 7)],
    top5: [(30, 12), (8, 20)],
}

if __name__ == "__main__":
    for operation, cases in CASES.items():
        torch.manual_seed(1)
        rows = ",\n".join(json.dumps(operation(*case), separators=(",", ":")) for case in cases)
        (FOLDER / f"{operation.__name__}.json").write_text(f"[\n{rows}\n]\n")
