"""The convolutions of `conv2d.rs` in PyTorch on one thread, each beside that bench, in turns.

    pip install torch
    cargo bench -p clr-kernels --bench conv2d --no-run           # prints where the program is
    python kernels/benches/conv2d_torch.py PROGRAM [WORDS]       # WORDS choose lines, as they do for the bench

Each line has milliseconds of the forward pass, of the input's gradient and of the weights' gradient: the least of both
programs' runs, which take turns, and PyTorch's time divided by ours.
"""

import re
import subprocess
import sys
import time

import torch

ROUNDS = 3
LINE = re.compile(r"(\w+) (\d+)x\d+/(\d+) (\d+)->(\d+) at (\d+)x(\d+)x\d+\s+(\w+)((?:\s+[\d.]+\s+[\d.]+\s+\d+ %){3})")
# Padding and groups, which the bench's lines do not have.
PADS = {"pointwise": 0, "alexnet1": 0, "googlenet1": 3}
GROUPS = {"alexnet2": 2, "alexnet4": 2, "alexnet5": 2}


def ours(program, words):
    """Milliseconds of the three passes, by the line's shape."""
    printed = subprocess.run([program, *words, "auto"], capture_output=True, text=True, check=True).stdout
    found = {}
    for match in LINE.finditer(printed):
        name, *sizes, _, columns = match.groups()
        found[name, *map(int, sizes)] = [float(column) for column in re.findall(r"([\d.]+)\s+[\d.]+\s+\d+ %", columns)]
    return found


def least(call, patience=0.4):
    best, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < patience:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def theirs(shape):
    """The same in PyTorch: channels last, which is its faster layout for most of these, and the usual one, the better of both."""
    name, kernel, stride, in_c, out_c, batch, size = shape
    pad, groups = PADS.get(name, kernel // 2), GROUPS.get(name, 1)
    times = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(batch, in_c, size, size).to(memory_format=layout)
        w = torch.randn(out_c, in_c // groups, kernel, kernel).to(memory_format=layout)
        bias = torch.randn(out_c)
        y = torch.conv2d(x, w, bias, stride, pad, 1, groups)
        dy = torch.randn_like(y)
        arguments = (dy, x, w, [out_c], [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups)
        backward = torch.ops.aten.convolution_backward
        times.append(
            [
                least(lambda: torch.conv2d(x, w, bias, stride, pad, 1, groups)),
                least(lambda: backward(*arguments, [True, False, False])),
                least(lambda: backward(*arguments, [False, True, True])),
            ]
        )
    return [min(pair) for pair in zip(*times)]


def main():
    program, *words = sys.argv[1:]
    torch.set_num_threads(1)
    best = {}
    with torch.no_grad():
        for _ in range(ROUNDS):
            for shape, times in ours(program, words).items():
                both = best.setdefault(shape, [[float("inf")] * 3, [float("inf")] * 3])
                both[0] = list(map(min, both[0], times))
                both[1] = list(map(min, both[1], theirs(shape)))
    for (name, *_), (mine, peer) in best.items():
        columns = "   ".join(f"{a:8.3f} {b:8.3f} {b / a:5.2f}x" for a, b in zip(mine, peer))
        print(f"{name:14} {columns}")


if __name__ == "__main__":
    main()
