"""AlexNet and CaffeNet in PyTorch, written from Caffe's published definitions alone: what clr-run's are held against."""

import torch
import torch.nn.functional as F
from torch import nn


class AlexNet(nn.Module):
    """models/bvlc_alexnet, or with `caffenet` models/bvlc_reference_caffenet, without dropout."""

    def __init__(self, caffenet=False, classes=1000, size=227, hidden=4096, conv1=(11, 4, 0)):
        super().__init__()
        self.caffenet = caffenet
        kernel, stride, pad = conv1
        self.conv1 = nn.Conv2d(3, 96, kernel, stride, pad)
        self.conv2 = nn.Conv2d(96, 256, 5, 1, 2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, 1, 1)
        self.conv4 = nn.Conv2d(384, 384, 3, 1, 1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, 1, 1, groups=2)
        with torch.no_grad():
            self.last_shape = tuple(self.features(torch.zeros(1, 3, size, size)).shape[1:])
        self.fc6 = nn.Linear(self.last_shape[0] * self.last_shape[1] * self.last_shape[2], hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, classes)

    def between(self, x):
        steps = [lambda x: F.local_response_norm(x, 5, 1e-4, 0.75, 1.0), lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)]
        for step in reversed(steps) if self.caffenet else steps:
            x = step(x)
        return x

    def features(self, x):
        x = self.between(F.relu(self.conv1(x)))
        x = self.between(F.relu(self.conv2(x)))
        x = F.relu(self.conv5(F.relu(self.conv4(F.relu(self.conv3(x))))))
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def forward(self, x):
        x = self.features(x).flatten(1)
        return self.fc8(F.relu(self.fc7(F.relu(self.fc6(x)))))


if __name__ == "__main__":
    print(sum(p.numel() for p in AlexNet().parameters()), sum(p.numel() for p in AlexNet(caffenet=True).parameters()))
