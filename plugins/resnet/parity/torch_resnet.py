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


if __name__ == "__main__":
    for depth in (20, 32, 44, 56, 110, 1202):
        print(depth, sum(p.numel() for p in CifarResNet(depth).parameters()))
