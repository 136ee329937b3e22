"""Residual networks in PyTorch, written from papers and published files alone: what clr-run's are held against."""

import torch
import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    """He et al. 2016, figure 5 left, with shortcut A: every other pixel, and zeros for the channels that are new, which
    fb.resnet.torch puts last."""

    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.more = stride, channels - channels_in

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more)))


class CifarResNet(nn.Module):
    """He et al. 2016, section 4.2: 6n + 2 layers."""

    def __init__(self, depth, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        channels_in, n = 16, (depth - 2) // 6
        for stage, channels in enumerate((16, 32, 64)):
            blocks = []
            for number in range(n):
                blocks.append(BasicBlock(channels_in, channels, 2 if stage and not number else 1))
                channels_in = channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class StochasticBlock(nn.Module):
    """ResidualDrop.lua of yueatsprograms/Stochastic_Depth, which in training is always there here: coins are drawn elsewhere."""

    def __init__(self, channels_in, channels, stride, death_rate):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.more, self.death_rate = stride, channels - channels_in, death_rate

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        y = y if self.training else y * (1 - self.death_rate)
        x = F.avg_pool2d(x, self.stride) if self.stride > 1 else x
        return F.relu(y + F.pad(x, (0, 0, 0, 0, 0, self.more)))


class StochasticDepth(nn.Module):
    """main.lua of the same, with its linear decay."""

    def __init__(self, depth, death_rate, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1)
        self.bn1 = nn.BatchNorm2d(16)
        channels_in, n, number = 16, (depth - 2) // 6, 0
        for stage, channels in enumerate((16, 32, 64)):
            blocks = []
            for block in range(n):
                number += 1
                stride = 2 if stage and not block else 1
                blocks.append(StochasticBlock(channels_in, channels, stride, number / (3 * n) * death_rate))
                channels_in = channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class CaffeBatchNorm(nn.Module):
    """Caffe's batch_norm_layer.cpp and the scale_layer.cpp behind it."""

    def __init__(self, channels, fraction):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.fraction, self.sums = fraction, [0.0, 0.0, 0.0]

    def forward(self, x):
        if self.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            m = x.numel() // x.shape[1]
            for i, value in enumerate((mean.detach(), variance.detach() * m / (m - 1), 1.0)):
                self.sums[i] = self.fraction * self.sums[i] + value
        else:
            mean, variance = self.sums[0] / self.sums[2], self.sums[1] / self.sums[2]
        x = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class SuperConvergence(nn.Module):
    """lnsmith54/super-convergence, architectures/Resnet56Cifar.prototxt and its neighbours, without dropout."""

    def __init__(self, depth, fraction, classes=10):
        super().__init__()
        self.fraction, self.n = fraction, (depth - 2) // 6
        self.conv("pre", 3, 16, 1)
        for stage, channels in ((1, 16), (2, 16), (3, 32)):
            for block in range(1, self.n + 1):
                self.conv(f"L{stage}_b{block}_cbr1", channels, channels, 2 if stage > 1 and block == 1 else 1)
                self.conv(f"L{stage}_b{block}_cbr2", channels, channels, 1)
                if stage > 1 and block == 1:
                    channels *= 2
        self.post_FC = nn.Linear(channels, classes)

    def conv(self, name, channels_in, channels, stride):
        self.add_module(name + "_conv", nn.Conv2d(channels_in, channels, 3, stride, 1))
        self.add_module(name + "_bn", CaffeBatchNorm(channels, self.fraction))

    def normalised(self, name, x):
        return getattr(self, name + "_bn")(getattr(self, name + "_conv")(x))

    def forward(self, x):
        x = F.relu(self.normalised("pre", x))
        for stage in (1, 2, 3):
            for block in range(1, self.n + 1):
                y = self.normalised(f"L{stage}_b{block}_cbr2", F.relu(self.normalised(f"L{stage}_b{block}_cbr1", x)))
                if stage > 1 and block == 1:
                    x = F.relu(y + F.avg_pool2d(x, 3, 2, ceil_mode=True))
                    # A layer of zeros, and a Concat.
                    x = torch.cat([x, torch.zeros_like(x)], 1)
                else:
                    x = F.relu(y + x)
        return self.post_FC(x.mean((2, 3)))


if __name__ == "__main__":
    for depth in (20, 32, 44, 56, 110, 1202):
        print(depth, *(sum(p.numel() for p in net.parameters()) for net in (CifarResNet(depth), StochasticDepth(depth, 0.5), SuperConvergence(depth, 0.9))))
