"""Trains the networks of this plugin in PyTorch, in float64, and writes what `tests/parity.rs` compares with.

    pip install torch numpy
    python make_goldens.py > goldens.json
"""

import pathlib
import sys

plugins = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(plugins / "parity"), str(plugins / "densenet" / "parity")]

from goldens import golden, write
from torch_densenet import DenseNet


def torch(depth, growth, bottleneck, compression, size):
    options = {"depth": depth, "growth": growth, "bottleneck": bottleneck, "compression": compression}
    make = lambda: DenseNet(depth, growth, bottleneck, compression, classes=4)
    return golden("densenet", options, make, size, 0.003 if depth == 40 else 0.01)


def caffe(depth, growth, size):
    options = {"depth": depth, "growth": growth, "dropout": 0}
    make = lambda: DenseNet(depth, growth, classes=4, fraction=0.999)
    return golden("densenet_caffe", options, make, size, 0.01)


write([torch(40, 12, False, 1, 12), torch(10, 5, False, 1, 12), torch(16, 12, True, 0.5, 12), caffe(10, 12, 8)])
