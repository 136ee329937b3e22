"""Trains the networks of this plugin in PyTorch, in float64, and writes what `tests/parity.rs` compares with.

    pip install torch torchvision numpy
    python make_goldens.py > goldens.json

Networks of ImageNet are torchvision's.
"""

import pathlib
import sys

import torch
import torchvision

plugins = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(plugins / "parity"), str(plugins / "resnet" / "parity")]

from goldens import golden, write
from torch_resnet import CifarResNet, StochasticDepth, SuperConvergence


def cifar(depth, size):
    return golden("cifar_resnet", {"depth": depth}, lambda: CifarResNet(depth, 4), size, 0.004)


def stochastic_depth(depth, size, death_rate):
    """With coins, which are drawn elsewhere, only what evaluation makes of the initial weights can be compared."""
    make = lambda: StochasticDepth(depth, death_rate, 4)
    options = {"depth": depth, "death_rate": death_rate}
    return golden("stochastic_depth", options, make, size, 0.004, steps=0 if death_rate else 30)


def super_convergence(depth, size, fraction, bias_decay):
    def multipliers(name):
        if not name.endswith("bias") or name.endswith("_bn.bias"):
            return 1.0, 1.0
        return 2.0, 1.0 if bias_decay or name == "post_FC.bias" else 0.0

    options = {"depth": depth, "moving_average_fraction": fraction, "bias_decay": bias_decay}
    return golden(
        "super_convergence", options, lambda: SuperConvergence(depth, fraction, 4), size, 0.004,
        optimizer={"optimizer": "sgd", "form": "torch"}, weight_decay=1e-2, multipliers=multipliers,
    )


def imagenet(model, size, stem, steps=30):
    def make():
        module = getattr(torchvision.models, model)(num_classes=4)
        if stem == "3x3":
            module.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
            module.maxpool = torch.nn.Identity()
        return module

    return golden(model, {"stem": stem}, make, size, 0.001, steps=steps)


MAKERS = {
    "cifar": lambda: [cifar(20, 32), cifar(8, 9)],
    "stochastic_depth": lambda: [stochastic_depth(14, 8, 0), stochastic_depth(20, 16, 0.5)],
    "super_convergence": lambda: [super_convergence(14, 16, 0.9, False), super_convergence(8, 8, 0.95, True)],
    "imagenet": lambda: [imagenet("resnet18", 9, "3x3"), imagenet("resnet50", 49, "7x7", steps=1)],
}
write([case for name in sys.argv[1:] or MAKERS for case in MAKERS[name]()])
