#!/usr/bin/env python3
"""Makes `branches.json`: losses and all gradients of a network with branches and two heads, by PyTorch in float64.

    pip install torch && python3 plugins/nn/goldens/make_goldens.py

Inputs and weights are multiples of 1/64, and so exact in float32. Arrays have the layouts of clr-nn: images NHWC, convolution
weights [height][width][inputs][outputs], those of a linear layer [inputs][outputs] with the inputs of an image as they lie in
memory.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

BATCH, HEIGHT, WIDTH, CLASSES, AUXILIARY_WEIGHT = 6, 7, 6, 4, 0.3


def values(generator, shape, scale):
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    return (uniform * scale * 64).round() / 64


def main():
    generator = torch.Generator().manual_seed(1)
    parameters = {}

    def parameter(name, shape, scale=0.75):
        parameters[name] = values(generator, shape, scale).requires_grad_()

    parameter("stem.weight", (4, 3, 3, 3))
    parameter("stem.bias", (4,))
    parameter("a.weight", (3, 4, 1, 1))
    parameter("b.weight", (4, 4, 3, 3))
    parameter("b.bn.weight", (4,), 1.5)
    parameter("b.bn.bias", (4,))
    parameter("c.weight", (2, 4, 1, 1))
    parameter("head1.weight", (4, 9, 3, 3), 0.5)  # A linear layer, as a convolution of the whole image.
    parameter("head1.bias", (4,))
    parameter("last.conv.weight", (3, 13, 3, 3), 0.5)
    parameter("ip.weight", (4, 3, 4, 3))
    parameter("ip.bias", (4,))
    images = values(generator, (BATCH, 3, HEIGHT, WIDTH), 2)
    labels = torch.tensor([0, 1, 2, 3, 0, 1])

    p = parameters
    x = F.relu(F.conv2d(images, p["stem.weight"], p["stem.bias"], padding=1))
    a = F.relu(F.conv2d(x, p["a.weight"]))
    b = F.conv2d(x, p["b.weight"], padding=1)
    b = F.relu(F.batch_norm(b, None, None, p["b.bn.weight"], p["b.bn.bias"], training=True, eps=1e-3))
    c = F.conv2d(F.max_pool2d(x, 3, 1, 1), p["c.weight"])
    block = torch.cat([a, b, c], 1)
    pooled = F.avg_pool2d(block, 3, 2, ceil_mode=True)
    head1 = F.conv2d(pooled, p["head1.weight"], p["head1.bias"]).flatten(1)
    # As in DenseNet: what is read on is concatenated again, and the block has readers of three kinds.
    y = torch.cat([block, x], 1)
    y = torch.sigmoid(F.conv2d(y, p["last.conv.weight"], stride=2, padding=1))
    y = y + torch.sigmoid(y)
    logits = F.conv2d(y, p["ip.weight"], p["ip.bias"]).flatten(1)
    loss, auxiliary = F.cross_entropy(logits, labels), F.cross_entropy(head1, labels)
    (loss + AUXILIARY_WEIGHT * auxiliary).backward()

    def written(tensor):
        tensor = tensor.detach()
        tensor = tensor.permute(2, 3, 1, 0) if tensor.dim() == 4 else tensor
        return [float(f"{value:.9g}") for value in tensor.flatten().tolist()]

    golden = {
        "images": images.permute(0, 2, 3, 1).flatten().tolist(),
        "labels": labels.tolist(),
        "parameters": [{"name": name, "values": written(value), "gradient": written(value.grad)}
                       for name, value in parameters.items()],
        "loss": loss.item(),
        "auxiliary_loss": auxiliary.item(),
        "correct": int((logits.argmax(1) == labels).sum()),
    }
    path = Path(__file__).with_name("branches.json")
    path.write_text(json.dumps(golden) + "\n")
    print(f"{path}: {sum(value.numel() for value in parameters.values())} parameters, loss {loss.item():.6f}, {auxiliary.item():.6f}")


main()
