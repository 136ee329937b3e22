#!/usr/bin/env python3
"""Snapshot ensembles and averaged weights in PyTorch, from the states that clr-run kept: what `clr-run evaluate` is held against.

    clr-run ensemble.toml
    clr-run evaluate outputs/parity-ensemble --ensemble --json > evaluated.json
    python ensemble.py outputs/parity-ensemble evaluated.json --data DIR

For each trial it reads the states at the ends of cycles and computes how many test images each classifies correctly, how many
each classifies together with all later ones (mean of softmax probabilities), and how many the averaged weights classify
(`torch.optim.swa_utils.AveragedModel`, then `update_bn` over the training images in the order of the files and in batches of
100). It prints both programs' numbers, and where they differ, how near a tie the images are on which they can differ.

DIR holds cifar10/*.parquet (the layout of dataset hubs). Needs torch, numpy, pyarrow, pillow and safetensors.
"""
import argparse
import json
import os

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel, update_bn

from torch_cifar import Cifar10Full, average_pool, load_split


class Cifar10Quick(torch.nn.Module):
    """examples/cifar10/cifar10_quick_train_test.prototxt."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 32, 5, padding=2)
        self.conv2 = torch.nn.Conv2d(32, 32, 5, padding=2)
        self.conv3 = torch.nn.Conv2d(32, 64, 5, padding=2)
        self.ip1 = torch.nn.Linear(64 * 4 * 4, 64)
        self.ip2 = torch.nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True))
        x = average_pool(F.relu(self.conv2(x)))
        x = average_pool(F.relu(self.conv3(x)))
        return self.ip2(self.ip1(x.flatten(1)))


class Cifar10FullSigmoidBn(torch.nn.Module):
    """examples/cifar10/cifar10_full_sigmoid_train_test_bn.prototxt."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 32, 5, padding=2, bias=False)
        self.conv2 = torch.nn.Conv2d(32, 32, 5, padding=2, bias=False)
        self.conv3 = torch.nn.Conv2d(32, 64, 5, padding=2, bias=False)
        self.bn1, self.bn2, self.bn3 = (torch.nn.BatchNorm2d(channels, affine=False) for channels in (32, 32, 64))
        self.ip1 = torch.nn.Linear(64 * 4 * 4, 10)

    def forward(self, x):
        x = torch.sigmoid(self.bn1(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)))
        x = average_pool(torch.sigmoid(self.bn2(self.conv2(x))))
        x = average_pool(torch.sigmoid(self.bn3(self.conv3(x))))
        return self.ip1(x.flatten(1))


MODELS = {
    "cifar10_quick": Cifar10Quick,
    "cifar10_full": Cifar10Full,
    "cifar10_full_sigmoid_bn": Cifar10FullSigmoidBn,
}


def load_state(model, path):
    """Convolutions are stored as [height][width][input][output], linear layers as [input][output] of NHWC images."""
    stored = {name: tensor.double() for name, tensor in load_file(path).items()}
    channels = 64
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            tensor = stored[name]
            if tensor.dim() == 4:
                tensor = tensor.permute(3, 2, 0, 1)
            elif tensor.dim() == 2 and tensor.shape[0] == 16 * channels:
                tensor = tensor.reshape(4, 4, channels, -1).permute(3, 2, 0, 1).flatten(1)
            elif tensor.dim() == 2:
                tensor = tensor.T
            parameter.copy_(tensor)
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                # Caffe's sums, and what to divide them by.
                scale = stored[f"{name}.scale_factor"]
                module.running_mean.copy_(stored[f"{name}.mean_sum"] / scale)
                module.running_var.copy_(stored[f"{name}.variance_sum"] / scale)
    return model


@torch.no_grad()
def probabilities(model, images):
    model.eval()
    return torch.cat([model(batch).double().softmax(1) for batch in images.split(500)])


def compare(what, votes, labels, ours):
    """One line of the table, and below it the images that are nearer a tie than single precision can tell."""
    two = votes.topk(2, dim=1).values
    margin = (two[:, 0] - two[:, 1]) / two[:, 0]
    theirs, count = int((votes.argmax(1) == labels).sum()), len(labels)
    ours = round(ours * count)
    near = [f"{image} ({margin[image]:.1e})" for image in margin.argsort()[:3].tolist()]
    print(f"| {what} | {ours} | {theirs} | {', '.join(near)} |", flush=True)
    return ours == theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("evaluated")
    parser.add_argument("--data", default=os.environ.get("CLR_DATA"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["float32", "float64"], default="float64")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kind = getattr(torch, arguments.precision)

    with open(os.path.join(arguments.output, "manifest.json")) as file:
        trials = json.load(file)["trials"]
    with open(arguments.evaluated) as file:
        evaluated = json.load(file)
    train, _ = load_split(arguments.data, "train")
    test, labels = load_split(arguments.data, "test")
    mean = train.double().mean(0, keepdim=True).to(kind)
    train, test = (images.to(kind).sub_(mean) for images in (train, test))

    equal = True
    for trial in evaluated:
        name = next(name for name in MODELS if f"architecture={name} " in trial["trial"] + " ")
        states = [(step, os.path.join(arguments.output, path)) for path, step in trials[trial["id"]]["cycles"]]
        print(f"\n{name}\n\n| {arguments.precision} | clr-run | PyTorch | nearest ties: image (margin) |\n|---|---|---|---|")
        averaged, votes = None, torch.zeros(len(test), 10, dtype=torch.float64)
        lines = []
        for (step, path), member in reversed(list(zip(states, trial["members"], strict=True))):
            assert step == member["iteration"]
            model = load_state(MODELS[name]().to(kind), path)
            alone = probabilities(model, test)
            votes += alone
            lines.append((f"after {step}, alone", alone, member["alone"]))
            lines.append((f"after {step}, with all later", votes.clone(), member["with_later"]))
        for _, path in states:
            model = load_state(MODELS[name]().to(kind), path)
            averaged = averaged or AveragedModel(model)
            averaged.update_parameters(model)
        update_bn(train.split(100), averaged)
        lines.append(("averaged weights", probabilities(averaged, test), trial["averaged_weights"]))
        for what, votes, ours in lines:
            equal &= compare(what, votes, labels, ours)
    print("\nall equal" if equal else "\nnot all equal")


if __name__ == "__main__":
    main()
