"""How fast clr-run trains, how near that is to what the GPU can do, and where the time goes."""

import csv
import shutil
from collections.abc import Iterator
from typing import NamedTuple

from .checks import PRECISIONS, networks
from .program import pace
from .units import Failed, Settings, Skipped, Unit


class Peak(NamedTuple):
    """What a GPU can do at most: dense TFLOP/s by precision (without tensor cores: f32), and TB/s of memory."""

    f32: float
    tf32: float
    bf16: float
    memory: float


# NVIDIA's data sheets. By the beginning of the name as the driver has it.
PEAKS = {
    "NVIDIA H100 PCIe": Peak(51, 378, 756, 2.0),
    "NVIDIA H100 NVL": Peak(60, 418, 835, 3.9),
    "NVIDIA H100": Peak(67, 495, 989, 3.35),
    "NVIDIA H200": Peak(67, 495, 989, 4.8),
    "NVIDIA A100": Peak(19.5, 156, 312, 2.0),
    "NVIDIA L40S": Peak(91.6, 183, 362, 0.864),
}


class Layer(NamedTuple):
    """A layer with weights: at how many places of an image it is applied, what goes into one product and comes out, and
    how many values it and the nodes up to the next one store."""

    places: int
    inputs: int
    outputs: int
    stored: int


# At 32 x 32: convolutions of 5 x 5 with 32, 32 and 64 filters, each followed by a pooling that halves the side. Stored
# are a convolution's values, those of ReLU, sigmoid and batch norm at its size or the pooled one, the pooling's, and
# LRN's.
LAYERS = {
    "cifar10_quick": [
        Layer(1024, 75, 32, 32768 + 2 * 8192),
        Layer(256, 800, 32, 2 * 8192 + 2048),
        Layer(64, 800, 64, 2 * 4096 + 1024),
        Layer(1, 1024, 64, 64),
        Layer(1, 64, 10, 10),
    ],
    "cifar10_full": [
        Layer(1024, 75, 32, 32768 + 3 * 8192),
        Layer(256, 800, 32, 2 * 8192 + 2 * 2048),
        Layer(64, 800, 64, 2 * 4096 + 1024),
        Layer(1, 1024, 10, 10),
    ],
    "cifar10_full_sigmoid_bn": [
        Layer(1024, 75, 32, 32768 + 3 * 8192),
        Layer(256, 800, 32, 3 * 8192 + 2048),
        Layer(64, 800, 64, 3 * 4096 + 1024),
        Layer(1, 1024, 10, 10),
    ],
}


def flops(network: str) -> float:
    """Of training on an image, products with weights only: forward, the weights' gradient, and the gradient of what
    went in, which the first layer needs not."""
    layers = LAYERS[network]
    products = [2.0 * layer.places * layer.inputs * layer.outputs for layer in layers]
    return 3 * sum(products) - products[0]


def bytes_moved(network: str) -> float:
    """Of training on an image where each node is a pass of its own: what it puts out, in float32, is written and read
    once, and so is its gradient. Weights are shared by a batch and left out."""
    return 4.0 * 4 * sum(layer.stored for layer in LAYERS[network])


def reached(gpu: str, network: str, precision: str, images_per_s: float) -> dict[str, float]:
    """What fraction of the GPU's peaks this is: products a second, and bytes a second if no two nodes were fused. Empty
    for a GPU that is not listed."""
    peak = next((peak for name, peak in PEAKS.items() if gpu.startswith(name)), None)
    if peak is None:
        return {}
    return {
        "of_flops": images_per_s * flops(network) / (getattr(peak, precision) * 1e12),
        "of_bandwidth": images_per_s * bytes_moved(network) / (peak.memory * 1e12),
    }


def speed(settings: Settings) -> Iterator[Unit]:
    for network in networks(settings):
        for precision in PRECISIONS[:1] if settings.quick else PRECISIONS:
            for trials in (1, 2) if settings.quick else (1, 8, 32, 128):
                work = lambda network=network, precision=precision, trials=trials: measure(
                    settings, network, precision, trials
                )
                yield Unit(f"{network} {precision} K={trials}", 8, work)


def measure(settings: Settings, network: str, precision: str, trials: int) -> dict:
    """Trains so many trials at once, which differ in their learning rates and see the same images."""
    batch = 4 if settings.quick else 100
    # Some four seconds if a step takes 0.1 ms and another 0.05 for each trial (float32: 0.3).
    guess = 1e-4 + trials * (3e-4 if precision == "f32" else 5e-5)
    iterations = 12 if settings.quick else max(150, min(20_000, int(4 / guess)))
    spec = settings.program.spec(
        dataset=settings.dataset,
        batch=batch,
        iterations=iterations,
        architectures=[network],
        precisions=[precision],
        rates=rates(trials),
    )
    ran = settings.program.train(spec, settings.program.device, "--lanes", trials)
    calls = ran.calls()
    if any(call.lanes != trials for call in calls):
        raise Failed(f"not all {trials} trials were trained at once")
    found = pace(calls, warm_up=3 if settings.quick else iterations // 4)
    fields = {
        "status": "measured",
        "network": network,
        "precision": precision,
        "trials": trials,
        "batch": batch,
        "images_per_s": round(1e3 * batch * trials / found["ms"]),
        "command": ran.ran.command,
        **found,
    }
    fields.update(reached(settings.program.gpu().name, network, precision, fields["images_per_s"]))
    ran.remove()
    return {**fields, "summary": f"{found['ms']:.3f} ms, {fields['images_per_s']:,} images/s"}


def rates(trials: int) -> list[float]:
    """Different learning rates, one a trial."""
    return [0.0005 + 0.0005 * trial / trials for trial in range(trials)]


# Columns of Nsight Compute: nanoseconds, and what fraction of the peaks was in use.
TIME = "gpu__time_duration.sum"
BUSY = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
MEMORY = "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"
LAST_OF_AN_ITERATION = "optimizer_update"


def kernels(settings: Settings) -> Iterator[Unit]:
    trials = 2 if settings.quick else 32
    for network in networks(settings):
        for precision in PRECISIONS[-1:] if settings.quick else PRECISIONS:
            work = lambda network=network, precision=precision: by_kernel(settings, network, precision, trials)
            yield Unit(f"{network} {precision} K={trials}", 20, work)


def by_kernel(settings: Settings, network: str, precision: str, trials: int) -> dict:
    """The time of each kernel of an iteration, and how near it is to the GPU's peaks, as Nsight Compute counts. It lets
    kernels run one by one, so their sum is less than an iteration takes."""
    ncu = shutil.which("ncu")
    if ncu is None:
        raise Skipped("Nsight Compute (ncu) is not installed: where the time of an iteration goes is not known")
    spec = settings.program.spec(
        dataset=settings.dataset if settings.quick else "shapes",
        batch=4 if settings.quick else 100,
        iterations=4,
        architectures=[network],
        precisions=[precision],
        rates=rates(trials),
    )
    log = settings.program.new("ncu", ".csv")
    before = [ncu, "--csv", "--page", "raw", "--print-units", "base", "--print-kernel-base", "function"]
    before += ["--clock-control", "none", "--metrics", ",".join((TIME, BUSY, MEMORY)), "--log-file", str(log)]
    lanes = ("--lanes", trials, "--isolation", "none")
    ran = settings.program.train(spec, settings.program.device, *lanes, before=before).ran
    iterations, launches = whole_iterations(log.read_text().splitlines())
    rows = summed(launches, iterations)
    total = sum(row["us"] for row in rows)
    return {
        "status": "measured",
        "rows": rows,
        "iterations": iterations,
        "us": total,
        "command": ran.command,
        "summary": f"{total:.0f} us in all; most in {rows[0]['kernel']}, {100 * rows[0]['us'] / total:.0f}%",
    }


def whole_iterations(lines: list[str]) -> tuple[int, list[dict[str, str]]]:
    """How many iterations there are after the first, and their launches: without those of evaluations."""
    # Before the table are ncu's own words; its first row has the units.
    start = next((index for index, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        raise Failed("ncu has listed nothing: " + "\n".join(lines)[-1000:])
    launches = [row for row in csv.DictReader(lines[start:]) if (row["ID"] or "").isdigit()]
    ends = [index for index, row in enumerate(launches) if row["Kernel Name"] == LAST_OF_AN_ITERATION]
    if len(ends) < 2:
        raise Failed(f"of {len(launches)} launches, {len(ends)} are of {LAST_OF_AN_ITERATION}")
    return len(ends) - 1, launches[ends[0] + 1 : ends[-1] + 1]


def summed(launches: list[dict[str, str]], iterations: int) -> list[dict]:
    """A row for each kernel, of an iteration; those that take most first. Fractions are means over time."""
    number = lambda text: float(text.replace(",", ""))
    found = {}
    for launch in launches:
        row = found.setdefault(launch["Kernel Name"], {"launches": 0, "us": 0.0, "busy": 0.0, "memory": 0.0})
        us = number(launch[TIME]) / 1e3
        row["launches"] += 1
        row["us"] += us
        row["busy"] += us * number(launch[BUSY]) / 100
        row["memory"] += us * number(launch[MEMORY]) / 100
    rows = [
        {
            "kernel": kernel,
            "launches": row["launches"] / iterations,
            "us": row["us"] / iterations,
            "busy": row["busy"] / max(row["us"], 1e-9),
            "memory": row["memory"] / max(row["us"], 1e-9),
        }
        for kernel, row in found.items()
    ]
    return sorted(rows, key=lambda row: -row["us"])
