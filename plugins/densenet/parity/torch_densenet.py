"""Densely connected networks in PyTorch, written from Huang et al. (2017) and the authors' published files alone: what
clr-run's are held against."""

import pathlib
import sys
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "resnet" / "parity"))

from torch_resnet import CaffeBatchNorm


class DenseNet(nn.Module):
    """Without dropout. `fraction` is that of Caffe's batch normalisation; without, it is Torch's."""

    def __init__(self, depth=40, growth=12, bottleneck=False, compression=1.0, first_channels=None, classes=10, fraction=None):
        super().__init__()
        norm = nn.BatchNorm2d if fraction is None else lambda channels: CaffeBatchNorm(channels, fraction)
        layers = (depth - 4) // (6 if bottleneck else 3)
        channels = first_channels or (2 * growth if bottleneck else 16)
        features = OrderedDict(conv0=nn.Conv2d(3, channels, 3, 1, 1, bias=False))
        for block in (1, 2, 3):
            dense = OrderedDict()
            for layer in range(1, layers + 1):
                dense[f"denselayer{layer}"] = DenseLayer(channels, growth, bottleneck, norm)
                channels += growth
            features[f"denseblock{block}"] = nn.Sequential(dense)
            if block < 3:
                fewer = int(compression * channels)
                features[f"transition{block}"] = nn.Sequential(OrderedDict(
                    norm=norm(channels), relu=nn.ReLU(), conv=nn.Conv2d(channels, fewer, 1, bias=False), pool=nn.AvgPool2d(2)
                ))
                channels = fewer
        features["norm5"] = norm(channels)
        self.features, self.classifier = nn.Sequential(features), nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))


class DenseLayer(nn.Module):
    def __init__(self, channels, growth, bottleneck, norm):
        super().__init__()
        widths = [(channels, 4 * growth, 1), (4 * growth, growth, 3)] if bottleneck else [(channels, growth, 3)]
        self.count = len(widths)
        for number, (inputs, outputs, size) in enumerate(widths, 1):
            self.add_module(f"norm{number}", norm(inputs))
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, size, 1, size // 2, bias=False))

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"conv{number}")(F.relu(getattr(self, f"norm{number}")(y)))
        return torch.cat([x, y], 1)


if __name__ == "__main__":
    for arguments in ((40, 12), (100, 12), (100, 24), (100, 12, True, 0.5), (250, 24, True, 0.5), (190, 40, True, 0.5)):
        print(arguments, sum(p.numel() for p in DenseNet(*arguments).parameters()))
