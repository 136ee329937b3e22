"""GoogLeNet in PyTorch, written from Szegedy et al. (2015), table 1, and Caffe's published definition alone: what clr-run's is
held against."""

import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}


def max_pool(x):
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def lrn(x):
    return F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)


class GoogLeNet(nn.Module):
    """Without dropout. In training it gives the scores and a list of those of the auxiliary heads with their weights."""

    def __init__(self, classes=1000, size=224, conv1_stride=2, aux_weight=0.3):
        super().__init__()
        self.layers, self.aux_weight = {}, aux_weight
        self.conv("conv1/7x7_s2", 3, 64, 7, conv1_stride)
        self.conv("conv2/3x3_reduce", 64, 64, 1)
        self.conv("conv2/3x3", 64, 192, 3)
        channels = 192
        for block, (one, reduce3, three, reduce5, five, projection) in WIDTHS.items():
            name = f"inception_{block}/"
            self.conv(name + "1x1", channels, one, 1)
            self.conv(name + "3x3_reduce", channels, reduce3, 1)
            self.conv(name + "3x3", reduce3, three, 3)
            self.conv(name + "5x5_reduce", channels, reduce5, 1)
            self.conv(name + "5x5", reduce5, five, 5)
            self.conv(name + "pool_proj", channels, projection, 1)
            channels = one + three + five + projection
        self.linear("loss3/classifier", 1024, classes)
        self.flattened = {}
        if aux_weight:
            side = size // conv1_stride
            for _ in range(3):
                side = -(-(side - 3) // 2) + 1
            side = -(-max(side - 5, -2) // 3) + 1
            for head, channels in (("loss1", 512), ("loss2", 528)):
                self.conv(head + "/conv", channels, 128, 1)
                self.linear(head + "/fc", 128 * side * side, 1024)
                self.linear(head + "/classifier", 1024, classes)
                self.flattened[head + "/fc.weight"] = (128, side, side)

    def add(self, name, layer):
        # A module's name may have no dots, and these have none.
        self.add_module(name, layer)
        self.layers[name] = layer

    def conv(self, name, channels, filters, size, stride=1):
        self.add(name, nn.Conv2d(channels, filters, size, stride, size // 2))

    def linear(self, name, inputs, outputs):
        self.add(name, nn.Linear(inputs, outputs))

    def relu(self, name, x):
        return F.relu(self.layers[name](x))

    def inception(self, block, x):
        name = f"inception_{block}/"
        return torch.cat([
            self.relu(name + "1x1", x),
            self.relu(name + "3x3", self.relu(name + "3x3_reduce", x)),
            self.relu(name + "5x5", self.relu(name + "5x5_reduce", x)),
            self.relu(name + "pool_proj", F.max_pool2d(x, 3, 1, 1)),
        ], 1)

    def head(self, name, x):
        # Caffe's average is over the part of the window that lies in the image.
        x = F.avg_pool2d(x, 5, 3, ceil_mode=True) if x.shape[2] >= 5 else x.mean((2, 3), keepdim=True)
        x = self.relu(name + "/fc", self.relu(name + "/conv", x).flatten(1))
        return self.layers[name + "/classifier"](x)

    def forward(self, x):
        heads = []
        x = lrn(max_pool(self.relu("conv1/7x7_s2", x)))
        x = max_pool(lrn(self.relu("conv2/3x3", self.relu("conv2/3x3_reduce", x))))
        for block in WIDTHS:
            x = self.inception(block, x)
            if block in ("3b", "4e"):
                x = max_pool(x)
            if self.training and self.aux_weight and block in ("4a", "4d"):
                heads.append((self.head("loss1" if block == "4a" else "loss2", x), self.aux_weight))
        scores = self.layers["loss3/classifier"](x.mean((2, 3)))
        return (scores, heads) if self.training else scores


if __name__ == "__main__":
    for aux_weight in (0.3, 0):
        print(sum(p.numel() for p in GoogLeNet(aux_weight=aux_weight).parameters()))
