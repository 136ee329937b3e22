#!/usr/bin/env python3
"""PyTorch and clr-run side by side on the CPU: images a second and memory, alternating, so that both meet the same machine.

    python side_by_side.py --clr-run target/release/clr-run --data DIR [--arch cifar10_quick resnet20 ...] [--rounds 5]

Two ways of working are measured: `single`, one trial on one thread, and `sweep`, two trials at once: two processes of one
thread in PyTorch, `--jobs 2` in clr-run. Images a second of clr-run are those between a short run and a longer one, so that
starting, loading and evaluating do not count; those of PyTorch begin after its warm-up, with batches that are in memory
already. Two trials do equal work and are done when the slower one is. PyTorch is at its best setting: the faster of eager and compiled, channels-last, with a malloc that keeps its memory
(--compiled 0 skips the compiler, which takes a minute for each network).

Memory is the sum over a run's processes of the proportional set size (pages that are shared count once), the largest of
samples taken every half second: more often would slow down whoever has more of it. Each figure is the median over the rounds, with the least and the largest.

Residual blocks are measured with ResNet-20 (He et al. 2016; batch 128), which the engine's bench `residual` trains: cargo
builds it, so `--arch resnet20` is for a clone of the repository.

DIR holds the datasets of clr-run (see `clr-run data`). Needs Linux, torch and numpy.
"""
import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

BATCH = {"resnet20": 128}  # other networks: 100
KEEP_MEMORY = ("glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592:"
               "glibc.malloc.top_pad=67108864")
SPEC = """
[experiment]
name  = "side_by_side"
seeds = {seeds}

[model]
plugin       = "cifar"
architecture = "{arch}"
convolution  = "{convolution}"

[data]
dataset    = "{dataset}"
batch_size = {batch}

[train]
iterations = {iterations}
eval_every = {iterations}

[policies.triangular]
kind      = "triangular"
base_lr   = 1e-4
max_lr    = 1e-3
step_size = 50

[optimizers.sgd]
kind     = "sgd"
momentum = 0.9
"""


def network(arch):
    """Caffe's networks. PyTorch has no LRN within a channel: its own, across channels, has the same size and exponent."""
    from torch import nn
    if arch == "resnet20":
        return resnet20()
    conv = lambda inputs, outputs, bias=True: nn.Conv2d(inputs, outputs, 5, padding=2, bias=bias)
    largest, mean = (lambda: nn.MaxPool2d(3, 2, ceil_mode=True)), (lambda: nn.AvgPool2d(3, 2, ceil_mode=True))
    norm = lambda: nn.LocalResponseNorm(3, alpha=5e-5, beta=0.75)
    if arch == "cifar10_quick":
        layers = [conv(3, 32), largest(), nn.ReLU(), conv(32, 32), nn.ReLU(), mean(), conv(32, 64), nn.ReLU(), mean(),
                  nn.Flatten(), nn.Linear(1024, 64), nn.Linear(64, 10)]
    elif arch == "cifar10_full":
        layers = [conv(3, 32), largest(), nn.ReLU(), norm(), conv(32, 32), nn.ReLU(), mean(), norm(), conv(32, 64),
                  nn.ReLU(), mean(), nn.Flatten(), nn.Linear(1024, 10)]
    elif arch == "cifar10_full_sigmoid_bn":
        layers = [conv(3, 32, False), largest(), nn.BatchNorm2d(32, affine=False), nn.Sigmoid(), conv(32, 32, False),
                  nn.BatchNorm2d(32, affine=False), nn.Sigmoid(), mean(), conv(32, 64, False),
                  nn.BatchNorm2d(64, affine=False), nn.Sigmoid(), mean(), nn.Flatten(), nn.Linear(1024, 10)]
    else:
        raise SystemExit(f"no network {arch}")
    return nn.Sequential(*layers)


def resnet20():
    """He et al. 2016, section 4.2: three stages of three blocks, shortcuts without weights (option A)."""
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
            self.stride, self.more = stride, outputs - inputs

        def forward(self, x):
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if self.stride > 1:
                x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.more))
            return F.relu(y + x)

    layers, channels = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for outputs in (16, 32, 64):
        for block in range(3):
            layers.append(Block(channels, outputs, 2 if outputs > 16 and block == 0 else 1))
            channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def train_torch(arch, compiled, seconds, start):
    """One process: prints images a second, measured from the moment that `start` exists."""
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = network(arch).to(memory_format=torch.channels_last).train()
    batch = BATCH.get(arch, 100)
    batches = [(torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last), torch.randint(10, (batch,)))
               for _ in range(4)]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=4e-3, fused=True)
    policy = torch.optim.lr_scheduler.CyclicLR(optimizer, 1e-4, 1e-3, step_size_up=50, cycle_momentum=False)
    loss_of = lambda x, y: F.cross_entropy(model(x), y)
    loss_of = torch.compile(loss_of) if compiled else loss_of

    def iterate(i):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*batches[i % len(batches)])
        loss.backward()
        optimizer.step()
        policy.step()
        return loss.item()

    for i in range(6):
        iterate(i)
    open(f"{start}.{os.getpid()}", "w").close()
    while not os.path.exists(start):
        time.sleep(0.005)
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        iterate(count)
        count += 1
    print(json.dumps(count * batch / (time.perf_counter() - begin)))


class Memory(threading.Thread):
    """The largest sum of the proportional set sizes of processes and their descendants, in MiB."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.peak, self.done = pids, 0.0, threading.Event()
        self.start()

    def run(self):
        while not self.done.wait(0.5):
            self.peak = max(self.peak, sum(self.size(pid) for pid in self.tree()) / 1024)

    def tree(self):
        children = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    parent = int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1])
                except OSError:
                    continue
                children.setdefault(parent, []).append(int(entry))
        found = list(self.pids)
        for pid in found:
            found += children.get(pid, [])
        return found

    @staticmethod
    def size(pid):
        try:
            lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)

    def stop(self):
        self.done.set()
        self.join()
        return self.peak


def torch_rate(arch, compiled, processes, seconds):
    """Images a second until the last process has made its share, and MiB."""
    with tempfile.TemporaryDirectory() as folder:
        start = os.path.join(folder, "start")
        command = [sys.executable, os.path.abspath(__file__), "--torch", arch, "--compiled", str(compiled), "--seconds",
                   str(seconds), "--start", start]
        environment = dict(os.environ, GLIBC_TUNABLES=KEEP_MEMORY)
        running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        memory = Memory([process.pid for process in running])
        while len(os.listdir(folder)) < processes and all(process.poll() is None for process in running):
            time.sleep(0.01)
        open(start, "w").close()
        outputs = [process.communicate()[0] for process in running]
        peak = memory.stop()
    return processes * min(json.loads(output) for output in outputs), peak


def clr_rate(options, arch, jobs, iterations):
    """Images a second until the last trial ends, between a run of a tenth of the iterations and one of all; and MiB of the
    longer."""
    seconds, peak = {}, 0.0
    for count in (iterations // 10, iterations):
        with tempfile.TemporaryDirectory() as folder:
            spec = os.path.join(folder, "side_by_side.toml")
            with open(spec, "w") as file:
                file.write(SPEC.format(seeds=list(range(1, jobs + 1)), arch=arch, dataset=options.dataset,
                                       batch=BATCH.get(arch, 100), iterations=count,
                                       convolution=options.convolution))
            command = [options.clr_run, spec, "--quiet", "--device", "cpu", "--jobs", str(jobs), "--outputs", folder]
            command += ["--data", options.data] if options.data else []
            begin = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            memory = Memory([process.pid])
            if process.wait() != 0:
                raise SystemExit(f"{' '.join(command)} failed")
            seconds[count] = time.perf_counter() - begin
            peak = memory.stop()
    trained, taken = jobs * BATCH.get(arch, 100) * (iterations - iterations // 10), seconds[iterations] - seconds[iterations // 10]
    if taken <= 0:
        raise SystemExit("the longer run took less time than the shorter: wait for a quieter machine, or raise --iterations")
    return trained / taken, peak


@functools.cache
def residual_bench():
    """The path of the bench `residual`, built if need be."""
    command = ["cargo", "bench", "--no-run", "--message-format", "json", "-p", "clr-nn", "--bench", "residual"]
    folder = os.path.dirname(os.path.abspath(__file__))
    messages = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    return next(path for path in (json.loads(message).get("executable") for message in messages) if path)


def residual_rate(convolution, jobs, iterations):
    """As `clr_rate`, of `jobs` processes of one thread."""
    command = [residual_bench(), "1", "3", str(iterations), convolution]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(jobs)]
    memory = Memory([process.pid for process in running])
    outputs = [process.communicate()[0] for process in running]
    peak = memory.stop()
    return jobs * min(float(output.split()[-2]) for output in outputs), peak


def spread(values):
    return f"{statistics.median(values):8,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def compare(options, arch):
    found = {}
    variants = [0, 1] if options.compiled else [0]
    if len(variants) > 1:
        rates = {compiled: torch_rate(arch, compiled, 1, options.seconds)[0] for compiled in variants}
        variants = [max(rates, key=rates.get)]
    for _ in range(options.rounds):
        for mode, jobs in (("single", 1), ("sweep", 2)):
            for who, (rate, memory) in (
                ("PyTorch", torch_rate(arch, variants[0], jobs, options.seconds)),
                ("clr-run", residual_rate(options.convolution, jobs, options.iterations // 3) if arch == "resnet20"
                 else clr_rate(options, arch, jobs, options.iterations)),
            ):
                found.setdefault((mode, who), []).append((rate, memory))
    for mode in ("single", "sweep"):
        rates, memory = ({who: [run[i] for run in found[mode, who]] for who in ("PyTorch", "clr-run")} for i in (0, 1))
        # Each round's own ratio: what slows the machine down for a while slows both.
        ratios = [ours / theirs for ours, theirs in zip(rates["clr-run"], rates["PyTorch"])]
        print(f"{arch:24} {mode:7} {spread(rates['PyTorch']):>32} {spread(rates['clr-run']):>32} "
              f"{statistics.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
              f"{statistics.median(memory['PyTorch']):8,.0f} {statistics.median(memory['clr-run']):8,.0f}", flush=True)
    if variants[0]:
        print(f"{'':24} (PyTorch compiled)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clr-run", default="clr-run", help="the program")
    parser.add_argument("--data", help="the folder of datasets")
    parser.add_argument("--dataset", default="cifar10", help="any dataset of 32 x 32 images")
    parser.add_argument("--arch", nargs="+", default=["cifar10_quick", "cifar10_full", "cifar10_full_sigmoid_bn"],
                        help="of these and resnet20")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=300, help="of a clr-run trial")
    parser.add_argument("--convolution", default="direct", choices=("direct", "auto"), help="of clr-run")
    parser.add_argument("--seconds", type=float, default=10, help="that PyTorch is timed for")
    parser.add_argument("--compiled", type=int, choices=(0, 1), default=1, help="whether to try torch.compile")
    parser.add_argument("--torch", metavar="ARCH", help=argparse.SUPPRESS)
    parser.add_argument("--start", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch:
        return train_torch(options.torch, options.compiled, options.seconds, options.start)
    print(f"{'':24} {'':7} {'PyTorch, images/s':>32} {'clr-run, images/s':>32} {'ratio':>21} {'MiB':>8} {'MiB':>8}")
    for arch in options.arch:
        compare(options, arch)


if __name__ == "__main__":
    main()
