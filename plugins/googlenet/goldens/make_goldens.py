"""Trains the network of this plugin in PyTorch, in float64, and writes what `tests/parity.rs` compares with.

    pip install torch numpy
    python make_goldens.py > goldens.json
"""

import pathlib
import sys

plugins = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(plugins / "parity"), str(plugins / "googlenet" / "parity")]

from goldens import golden, write
from torch_googlenet import GoogLeNet

SIZE = 24


def case(aux_weight, max_lr):
    make = lambda: GoogLeNet(4, SIZE, 1, aux_weight)
    options = {"dropout": 0, "aux_dropout": 0, "aux_weight": aux_weight, "conv1_stride": 1, "global_pool": True}
    multipliers = lambda name: (2.0, 0.0) if name.endswith(".bias") else (1.0, 1.0)
    return golden(
        "bvlc_googlenet", options, make, SIZE, max_lr, gain=2.4, optimizer={"optimizer": "sgd", "form": "torch"},
        weight_decay=2e-4, multipliers=multipliers, flattened=make().flattened,
    )


write([case(0.3, 0.0007)])
