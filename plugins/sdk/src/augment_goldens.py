"""Makes augment_goldens.json: torchvision's rule for random areas, with draws from Philox, and resizing by PyTorch.

    pip install torch numpy
    python augment_goldens.py

The rule is transcribed from torchvision.transforms.RandomResizedCrop.get_params; its draws are replaced by Philox 4x32-10 of
(seed, epoch, sample), four words a try.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

STREAM_AUGMENT = 1


def philox(seed, step, index, stream):
    """Philox 4x32-10 as Salmon et al. (2011) define it."""
    counter = [index, step & 0xFFFFFFFF, step >> 32, stream]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first, second = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (second >> 32) ^ counter[1] ^ key[0],
            second & 0xFFFFFFFF,
            (first >> 32) ^ counter[3] ^ key[1],
            first & 0xFFFFFFFF,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


def area(seed, epoch, sample, height, width, least):
    """get_params of torchvision, for scale=(least, 1) and ratio=(3/4, 4/3)."""
    ratio = (3.0 / 4.0, 4.0 / 3.0)
    for attempt in range(1, 11):
        words = philox(seed, attempt << 32 | epoch, sample, STREAM_AUGMENT)
        uniform = lambda word, low, high: low + (high - low) * (word / 2**32)
        target_area = height * width * uniform(words[0], least, 1.0)
        aspect_ratio = math.exp(uniform(words[1], math.log(ratio[0]), math.log(ratio[1])))
        w = int(round(math.sqrt(target_area * aspect_ratio)))
        h = int(round(math.sqrt(target_area / aspect_ratio)))
        if 0 < w <= width and 0 < h <= height:
            integer = lambda word, count: word * count >> 32
            return [integer(words[2], height - h + 1), integer(words[3], width - w + 1), h, w], False
    in_ratio = float(width) / float(height)
    if in_ratio < min(ratio):
        w = width
        h = int(round(w / min(ratio)))
    elif in_ratio > max(ratio):
        h = height
        w = int(round(h * max(ratio)))
    else:
        w = width
        h = height
    return [(height - h) // 2, (width - w) // 2, h, w], True


def areas():
    for height, width, least in [(256, 256, 0.08), (64, 64, 0.08), (32, 32, 0.25), (40, 100, 0.9), (100, 40, 0.9), (9, 10, 0.98)]:
        for number in range(25):
            seed, epoch, sample = 0x123456789A + number, number % 7, 1000 * number + 3
            found, central = area(seed, epoch, sample, height, width, least)
            keys = dict(seed=seed, epoch=epoch, sample=sample, height=height, width=width, least=least)
            yield dict(**keys, area=found, central=central)


def resized():
    torch.manual_seed(3)
    for source, target in [(5, 9), (9, 5), (13, 13), (20, 6), (1, 4), (17, 16), (7, 1)]:
        x = torch.randint(0, 256, (source,)).double()
        image = x.reshape(1, 1, 1, source).expand(1, 1, 2, source)
        y = F.interpolate(image, size=(2, target), mode="bilinear", antialias=True, align_corners=False)[0, 0, 0]
        yield dict(x=x.tolist(), y=[float(f"{value:.9g}") for value in y.tolist()])


if __name__ == "__main__":
    cases = [json.dumps(case, separators=(",", ":")) for case in areas()]
    lines = [json.dumps(case, separators=(",", ":")) for case in resized()]
    text = '{"areas":[\n' + ",\n".join(cases) + '\n],"resized":[\n' + ",\n".join(lines) + "\n]}\n"
    Path(__file__).with_name("augment_goldens.json").write_text(text)
