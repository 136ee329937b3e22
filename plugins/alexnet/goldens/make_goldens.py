"""Trains the networks of this plugin in PyTorch, in float64, and writes what `tests/parity.rs` compares with.

    pip install torch numpy
    python make_goldens.py > goldens.json
"""

import pathlib
import sys

plugins = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(plugins / "parity"), str(plugins / "alexnet" / "parity")]

from goldens import golden, write
from torch_alexnet import AlexNet


def case(model, size, conv1, max_lr):
    make = lambda: AlexNet(model != "bvlc_alexnet", 4, size, 24, conv1)
    options = {"dropout": 0, "hidden": 24, "conv1_size": conv1[0], "conv1_stride": conv1[1], "conv1_pad": conv1[2]}
    multipliers = lambda name: (2.0, 0.0) if name.endswith(".bias") else (1.0, 1.0)
    return golden(
        model, options, make, size, max_lr, optimizer={"optimizer": "sgd", "form": "torch"}, weight_decay=5e-4,
        multipliers=multipliers, flattened={"fc6.weight": make().last_shape},
    )


write([
    case("bvlc_alexnet", 32, (5, 2, 2), 0.01),
    case("bvlc_reference_caffenet", 75, (11, 4, 0), 0.01),
])
