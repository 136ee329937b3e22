"""ResNet-18 for images of 32 x 32: He et al. 2015, with the first layer of its CIFAR networks in place of that for ImageNet."""

from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two convolutions, and their input added to what they give."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        hidden = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, channels, class_count, width, blocks):
        super().__init__()
        layers = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        inputs = width
        for stage, count in enumerate(blocks):
            outputs = width << stage
            for block in range(count):
                layers.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classes = nn.Linear(inputs, class_count)

    def forward(self, images):
        return self.classes(self.features(images).mean((2, 3)))


def resnet18(class_count, image_shape, width=64):
    """clr-run gives the number of classes and the shape of an image, (channels, height, width); the rest is from the spec."""
    return ResNet(image_shape[0], class_count, width, [2, 2, 2, 2])
