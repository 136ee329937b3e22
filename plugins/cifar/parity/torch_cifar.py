#!/usr/bin/env python3
"""cifar10_full in PyTorch, written from the paper and Caffe's files alone: what clr-run is held against.

    python torch_cifar.py train --data DIR --seed 1 --iterations 5000 --step-size 1250
    python torch_cifar.py losses --dump DUMP --iterations 100

`train` trains from its own random weights and its own shuffles and prints the test accuracy.
`losses` starts from the weights and follows the batches that `cargo run --release -p clr-run --example parity` wrote to
DUMP (see there), in float32 and in float64, and prints how far the losses of clr-run and of PyTorch are apart.

DIR holds cifar10/*.parquet (the layout of dataset hubs). Needs torch, numpy, pyarrow and pillow.
"""
import argparse
import glob
import io
import json
import os

import numpy as np
import pyarrow.parquet as parquet
import torch
import torch.nn.functional as F
from PIL import Image


def load_split(folder, split):
    """Images as float32 NCHW in 0..255 and labels as int64, in the order of the files."""
    images, labels = [], []
    for path in sorted(glob.glob(os.path.join(folder, "cifar10", f"{split}-*.parquet"))):
        table = parquet.read_table(path)
        images += [np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in table["img"].to_pylist()]
        labels += table["label"].to_pylist()
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float(), torch.tensor(labels)


def lrn_within_channel(x, alpha=5e-5, beta=0.75):
    """Caffe's WITHIN_CHANNEL region of size 3: the mean of squares counts the padding, so it always divides by 9."""
    return x * (1 + alpha * F.avg_pool2d(x * x, 3, 1, 1, count_include_pad=True)) ** -beta


def average_pool(x):
    return F.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=True)


class Cifar10Full(torch.nn.Module):
    """examples/cifar10/cifar10_full_train_test.prototxt."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 32, 5, padding=2)
        self.conv2 = torch.nn.Conv2d(32, 32, 5, padding=2)
        self.conv3 = torch.nn.Conv2d(32, 64, 5, padding=2)
        self.ip1 = torch.nn.Linear(64 * 4 * 4, 10)
        for layer, deviation in ((self.conv1, 1e-4), (self.conv2, 0.01), (self.conv3, 0.01), (self.ip1, 0.01)):
            torch.nn.init.normal_(layer.weight, 0, deviation)
            torch.nn.init.zeros_(layer.bias)

    def forward(self, x):
        x = lrn_within_channel(F.relu(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)))
        x = lrn_within_channel(average_pool(F.relu(self.conv2(x))))
        x = average_pool(F.relu(self.conv3(x)))
        return self.ip1(x.flatten(1))


# (lr_mult, decay_mult) by parameter; conv3 has no param block in Caffe's file.
MULTIPLIERS = {
    "conv1.weight": (1, 1), "conv1.bias": (2, 1), "conv2.weight": (1, 1), "conv2.bias": (2, 1),
    "conv3.weight": (1, 1), "conv3.bias": (1, 1), "ip1.weight": (1, 250), "ip1.bias": (2, 0),
}


def triangular2(iteration, base, maximum, step_size):
    """Smith 2017, appendix A."""
    cycle = iteration // (2 * step_size)
    x = (iteration - (2 * cycle + 1) * step_size) / step_size
    return base + (maximum - base) * min(1.0, max(0.0, (1 - abs(x)) / 2**cycle))


class CaffeSgd:
    """V = momentum V + lr (g + decay w); w -= V: the learning rate is inside the momentum buffer."""

    def __init__(self, model, momentum=0.9, weight_decay=0.004):
        self.parameters = [(p, *MULTIPLIERS[name], torch.zeros_like(p)) for name, p in model.named_parameters()]
        self.momentum, self.weight_decay = momentum, weight_decay

    @torch.no_grad()
    def step(self, lr):
        for p, lr_mult, decay_mult, velocity in self.parameters:
            gradient = p.grad + self.weight_decay * decay_mult * p
            velocity.mul_(self.momentum).add_(gradient, alpha=lr * lr_mult)
            p.sub_(velocity)
            p.grad = None


def iterate(model, batches, arguments):
    optimizer = CaffeSgd(model)
    for iteration, (x, y) in enumerate(batches):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step(triangular2(iteration, arguments.base_lr, arguments.max_lr, arguments.step_size))
        yield loss.item()


@torch.no_grad()
def accuracy(model, x, y):
    hits = sum((model(x[i:i + 500]).argmax(1) == y[i:i + 500]).sum().item() for i in range(0, len(x), 500))
    return hits / len(x)


def train(arguments):
    x, y = load_split(arguments.data, "train")
    test_x, test_y = load_split(arguments.data, "test")
    mean = x.mean(0, keepdim=True)
    x, test_x = (t.sub_(mean).contiguous(memory_format=torch.channels_last) for t in (x, test_x))
    torch.manual_seed(arguments.seed)
    model = Cifar10Full().to(memory_format=torch.channels_last)

    def batches():
        done = 0
        while True:
            for batch in torch.randperm(len(x)).split(100):
                if done == arguments.iterations:
                    return
                yield x[batch], y[batch]
                done += 1

    for iteration, loss in enumerate(iterate(model, batches(), arguments)):
        if iteration % 1000 == 0:
            print(f"# iteration {iteration} loss {loss:.4f}", flush=True)
    print(json.dumps({"seed": arguments.seed, "iterations": arguments.iterations,
                      "test_accuracy": accuracy(model, test_x, test_y)}), flush=True)


def losses(arguments):
    read = lambda name, kind: torch.from_numpy(np.fromfile(os.path.join(arguments.dump, name), dtype=kind))
    ours = read("losses.f32", "<f4").double()
    labels = read("labels.i32", "<i4").reshape(arguments.iterations, 100).long()
    images = read("images.f32", "<f4").reshape(arguments.iterations, 100, 32, 32, 3).permute(0, 1, 4, 2, 3)

    def run(kind):
        model = Cifar10Full()
        with torch.no_grad():
            for name in ("conv1", "conv2", "conv3"):
                layer = getattr(model, name)
                out_c, in_c, h, w = layer.weight.shape
                layer.weight.copy_(read(f"{name}.weight.f32", "<f4").reshape(h, w, in_c, out_c).permute(3, 2, 0, 1))
                layer.bias.copy_(read(f"{name}.bias.f32", "<f4"))
            weight = read("ip1.weight.f32", "<f4").reshape(4, 4, 64, 10)
            model.ip1.weight.copy_(weight.permute(3, 2, 0, 1).reshape(10, 1024))
            model.ip1.bias.copy_(read("ip1.bias.f32", "<f4"))
        return torch.tensor(list(iterate(model.to(kind), zip(images.to(kind), labels), arguments)), dtype=torch.float64)

    float32, float64 = run(torch.float32), run(torch.float64)
    for name, a, b in (("clr-run and float64", ours, float64), ("clr-run and float32", ours, float32),
                       ("float32 and float64", float32, float64)):
        print(f"{name}: largest difference of {len(a)} losses {(a - b).abs().max():.2e}, of the last {(a - b)[-1].abs():.2e}")
    print(f"losses: first {ours[0]:.6f}, last {ours[-1]:.6f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["train", "losses"])
    parser.add_argument("--data", default=os.environ.get("CLR_DATA"))
    parser.add_argument("--dump")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=5000)
    parser.add_argument("--base-lr", type=float, default=0.001)
    parser.add_argument("--max-lr", type=float, default=0.005)
    parser.add_argument("--step-size", type=int, default=1250)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    train(arguments) if arguments.mode == "train" else losses(arguments)


if __name__ == "__main__":
    main()
