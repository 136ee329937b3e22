"""A small network and an optimizer, on which the conformance suite tries the plugin `torch`: with dropout and normalisation, whose
draws and running averages must not depend on anything but the trial."""

import torch
from torch import nn


class ConvNet(nn.Module):
    def __init__(self, class_count, image_shape, width=4):
        super().__init__()
        channels, _, _ = image_shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.dropout = nn.Dropout(0.25)
        self.classes = nn.LazyLinear(class_count)

    def forward(self, images):
        return self.classes(self.dropout(self.features(images).flatten(1)))


class SignDescent(torch.optim.Optimizer):
    """Steps along the sign of an average of gradients; counts its steps in a plain number."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.0, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                state["steps"] = state.get("steps", 0) + 1
                average.lerp_(parameter.grad, 0.1)
                change = average.sign() / state["steps"] ** 0.5 + group["weight_decay"] * parameter
                parameter.sub_(group["lr"] * change)
