"""How fast a folder of images is decoded: clr-run beside torchvision's loader and beside Pillow alone.

    python3 images_per_second.py FOLDER [PROGRAM] [--resize N --crop N] [--rounds 3]

FOLDER has `train/CLASS/NAME`. Each round runs all of them one after the other; the best of each counts. Seconds are those of
the processor, user and system, so that what else runs on the machine hardly shows, and all threads count. clr-run does more
than the others: it reads all files twice (their digest is what tells that they have not changed), sorts the images by their
content, and writes them to the cache. Needs Pillow, torch and torchvision.
"""

import argparse
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path


def spent(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def clr_run(program, folder, size):
    with tempfile.TemporaryDirectory() as cache:
        before, start = spent(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [program, "data", "prepare", str(folder), *size]
        subprocess.run(command, check=True, env={**os.environ, "CLR_CACHE": cache}, stdout=subprocess.DEVNULL)
        return spent(resource.RUSAGE_CHILDREN) - before, time.perf_counter() - start


def measured(work):
    before, start = spent(resource.RUSAGE_SELF), time.perf_counter()
    work()
    return spent(resource.RUSAGE_SELF) - before, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("program", nargs="?", default="clr-run")
    parser.add_argument("--resize", type=int)
    parser.add_argument("--crop", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()

    import torch
    from PIL import Image
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    size = [word for name in ("resize", "crop") if getattr(given, name) for word in (f"--{name}", str(getattr(given, name)))]
    steps = [transforms.Resize(given.resize)] if given.resize else []
    steps += [transforms.CenterCrop(given.crop)] if given.crop else []
    splits = [folder for folder in sorted(given.folder.iterdir()) if folder.is_dir()]
    paths = [path for split in splits for path in split.rglob("*") if path.is_file()]

    def torchvision_loader():
        for split in splits:
            images = datasets.ImageFolder(split, transforms.Compose([*steps, transforms.PILToTensor()]))
            for _ in torch.utils.data.DataLoader(images, batch_size=128, num_workers=0):
                pass

    def pillow():
        for path in paths:
            with Image.open(path) as image:
                image.convert("RGB")

    ways = {
        "clr-run data prepare": lambda: clr_run(given.program, given.folder, size),
        "torchvision ImageFolder + DataLoader": lambda: measured(torchvision_loader),
        "Pillow, decoding alone": lambda: measured(pillow),
    }
    best = {}
    for _ in range(given.rounds):
        for name, way in ways.items():
            best[name] = min(way(), best.get(name, (float("inf"), 0.0)))
    ours = best["clr-run data prepare"][0]
    print(f"{len(paths):,} images, the best of {given.rounds} rounds")
    for name, (seconds, wall) in best.items():
        rate = len(paths) / seconds
        print(f"  {name:38} {seconds:7.2f} s of a processor ({wall:6.2f} s by the clock), {rate:7,.0f} images/s; "
              f"clr-run {seconds / ours:.2f} times as fast")


if __name__ == "__main__":
    main()
