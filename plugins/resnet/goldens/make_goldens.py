"""Trains the networks of this plugin in PyTorch, in float64, and writes what `tests/parity.rs` compares with.

    pip install torch numpy
    python make_goldens.py > goldens.json
"""

import pathlib
import sys

plugins = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(plugins / "parity"), str(plugins / "resnet" / "parity")]

from goldens import golden, write
from torch_resnet import CifarResNet

CASES = [
    golden("cifar_resnet", {"depth": depth}, lambda: CifarResNet(depth, 4), size, 0.004)
    for depth, size in ((20, 32), (8, 9))
]
write(CASES)
