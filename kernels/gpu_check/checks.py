"""What must hold on a GPU: each unit's result is that it does, or what was found instead."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator

from .program import OPTIMIZERS, Output
from .units import Failed, Settings, Skipped, Unit

NETWORKS = ("cifar10_quick", "cifar10_full", "cifar10_full_sigmoid_bn")
PRECISIONS = ("f32", "tf32", "bf16")

# How far a training on the GPU may be from the CPU's in float32: the largest relative difference of any loss, and that
# of the gradient's norm in the first iteration, which begins from equal weights.
#
# Sums are added up in another order. What a rounding changes grows while a network learns, since ReLU and max pooling
# then decide otherwise: PyTorch's float32 and float64 differ by 4e-4 within 100 iterations of cifar10_full from equal
# weights. A wrong kernel is far beyond that. TF32 rounds factors to 11 bits (5e-4 of each), bfloat16 to 8 (4e-3): on
# the emulated GPU the first gradients differ by up to 4e-4 and 1.5e-3.
TOLERANCE = {"f32": (5e-3, 1e-4), "tf32": (1e-2, 3e-3), "bf16": (5e-2, 1e-2)}


def hardware(settings: Settings) -> Iterator[Unit]:
    yield Unit("machine", 10, lambda: describe(settings))


def describe(settings: Settings) -> dict:
    program = settings.program
    try:
        gpu = program.gpu()
    except RuntimeError as reason:
        raise Failed(str(reason)) from reason
    index = program.device.partition(":")[2] or "0"
    driver = output(
        ["nvidia-smi", "-i", index, "--query-gpu=driver_version,power.limit,clocks.max.sm", "--format=csv,noheader"]
    )
    version = re.search(r"CUDA Version: *([0-9.]+)", output(["nvidia-smi"]) or "")
    cpu = next(
        (line.partition(":")[2].strip() for line in lines_of("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    torch = output([settings.python, "-c", "import torch; print(torch.__version__, torch.cuda.is_available())"])
    tools = [tool for tool in ("nvcc", "compute-sanitizer", "ncu") if shutil.which(tool)]
    fields = {
        "gpu": gpu.name,
        "memory_gib": round(gpu.bytes / 2**30, 1),
        "driver": driver or "no nvidia-smi",
        "cuda": version[1] if version else None,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "clr_run": program.run("--version").stdout.strip(),
        "torch": torch,
        "tools": tools,
    }
    summary = f"{gpu.name}, {fields['memory_gib']} GiB; driver {fields['driver']}; {fields['clr_run']}"
    return {**fields, "summary": summary}


def conformance(settings: Settings) -> Iterator[Unit]:
    yield Unit("cifar", 30, lambda: conforms(settings))


def conforms(settings: Settings) -> dict:
    program = settings.program
    side = 8 if settings.quick else 32
    ran = program.run("plugin", "check", program.plugin("clr_cifar"), "--device", program.device, "--side", side)
    counted = re.search(r"(\d+) passed, (\d+) failed, (\d+) skipped\s*$", ran.stdout)
    if ran.code != 0 or not counted:
        failures = [line for line in ran.stdout.splitlines() if line.startswith("FAIL")]
        raise Failed("\n".join(failures) or f"ended with {ran.code}: {ran.stderr}", command=ran.command)
    return {"command": ran.command, "summary": f"{counted[1]} passed, {counted[3]} skipped, images of {side} x {side}"}


def training(settings: Settings) -> Iterator[Unit]:
    for network in networks(settings):
        yield Unit(network, 25, lambda network=network: agrees(settings, network))


def agrees(settings: Settings, network: str) -> dict:
    """Trains on the CPU, and in each precision on the GPU."""
    batch, iterations = (4, 12) if settings.quick else (100, 100)
    spec = lambda precision: settings.program.spec(
        dataset=settings.dataset, batch=batch, iterations=iterations, architectures=[network], precisions=[precision]
    )
    expected = only_rows(settings.program.train(spec("f32"), "cpu"))
    found, problems, command = {}, [], ""
    for precision in PRECISIONS:
        ran = settings.program.train(spec(precision))
        if not any(name.endswith(f"-{precision}") for name in ran.numerics()):
            raise Failed(f"{precision} was computed as {ran.numerics()}")
        rows, command = only_rows(ran), ran.ran.command
        loss = largest_difference(expected, rows, "loss")
        gradient = largest_difference(expected[:1], rows[:1], "grad_norm")
        found[precision] = {"loss": loss, "gradient": gradient}
        if not (loss <= TOLERANCE[precision][0] and gradient <= TOLERANCE[precision][1]):
            problems.append(
                f"{precision}: losses differ by {loss:.1e}, the first gradient by {gradient:.1e}, relatively; "
                f"at most {TOLERANCE[precision][0]:.0e} and {TOLERANCE[precision][1]:.0e} are expected"
            )
    fields = {"command": command, "differences": found, "iterations": iterations, "batch": batch}
    if problems:
        raise Failed("; ".join(problems), **fields)
    differences = ", ".join(f"{name} {it['loss']:.1e} and {it['gradient']:.1e}" for name, it in found.items())
    losses = f"{expected[0]['loss']:.3f} to {expected[-1]['loss']:.3f}"
    return {
        **fields,
        "summary": f"largest relative difference of losses ({losses}) and of the first gradient: {differences}",
    }


def only_rows(ran: Output) -> list[dict[str, float]]:
    (label,) = ran.labels()
    return ran.rows(label)


def largest_difference(expected: list[dict[str, float]], found: list[dict[str, float]], column: str) -> float:
    """Relative. What is missing or not finite on one side differs without bound."""
    if len(expected) != len(found):
        return float("inf")
    pairs = [(one.get(column), other.get(column)) for one, other in zip(expected, found)]
    if any(one is None or other is None for one, other in pairs):
        return float("inf")
    return max(abs(one - other) / max(abs(one), 1e-30) for one, other in pairs)


def lanes(settings: Settings) -> Iterator[Unit]:
    for network in networks(settings):
        for precision in PRECISIONS[-1:] if settings.quick else PRECISIONS:
            for images in ("shared", "own"):
                work = lambda network=network, precision=precision, images=images: are_independent(
                    settings, network, precision, images
                )
                yield Unit(f"{network} {precision} {images} images", 15, work)


def are_independent(settings: Settings, network: str, precision: str, images: str) -> dict:
    """Trains the same trials in sessions of one lane, of a few and of all, and those of all twice. With several seeds
    each lane sees images of its own; with one they share the first layer's work."""
    batch, iterations = (3, 4) if settings.quick else (100, 20)
    optimizers = OPTIMIZERS[1:3] if settings.quick else OPTIMIZERS[:4]
    rates = (0.0005, 0.001) if settings.quick else (0.0002, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.004, 0.005)
    seeds = range(1, 2)
    if images == "own":
        seeds, rates = range(1, len(rates) + 1), rates[:1]
    spec = settings.program.spec(
        dataset=settings.dataset,
        batch=batch,
        iterations=iterations,
        architectures=[network],
        precisions=[precision],
        rates=rates,
        seeds=seeds,
        optimizers=optimizers,
    )
    count = len(optimizers) * len(rates) * len(seeds)
    tables = {}
    for most in (count, 1, max(2, count // 3), count):
        ran = settings.program.train(spec, settings.program.device, "--lanes", most)
        used = max(call.lanes for call in ran.calls())
        if used != most:
            raise Failed(f"--lanes {most} trained {used} at once", command=ran.ran.command)
        for other, expected in tables.items():
            compare(expected, ran.tables(), other, most)
        tables[most] = ran.tables()
        command = ran.ran.command
        ran.remove()
    summary = f"{count} trials alone, {max(2, count // 3)} at once and all at once, twice: equal bytes"
    return {"command": command, "trials": count, "iterations": iterations, "summary": summary}


def compare(expected: dict[str, bytes], found: dict[str, bytes], one: int, other: int) -> None:
    if not any(name.startswith("metrics") for name in found):
        raise Failed("there are no tables to compare")
    differing = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    if differing:
        what = "two runs differ" if one == other else f"{one} and {other} at once differ"
        raise Failed(f"{what} in {', '.join(sorted(differing))}")


def sanitizer(settings: Settings) -> Iterator[Unit]:
    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        yield Unit(tool, 60, lambda tool=tool: is_clean(settings, tool))


def is_clean(settings: Settings, tool: str) -> dict:
    """Two lanes of every network in every precision, for three iterations: all kernels that these have."""
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        raise Skipped("compute-sanitizer is not installed; it comes with the CUDA toolkit")
    spec = settings.program.spec(
        dataset=settings.dataset if settings.quick else "shapes",
        batch=4 if settings.quick else 50,
        iterations=3,
        architectures=NETWORKS,
        precisions=PRECISIONS,
        optimizers=OPTIMIZERS[:2],
    )
    before = [sanitizer, "--tool", tool, "--error-exitcode", "99", "--print-limit", "20"]
    try:
        ran = settings.program.train(spec, settings.program.device, "--isolation", "none", before=before).ran
    except RuntimeError as problem:
        raise Failed(str(problem)[-4000:]) from problem
    text = ran.stdout + ran.stderr
    counted = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", text)
    if not counted:
        raise Failed(f"{tool} has not said what it found: {text[-1000:]}", command=ran.command)
    if not counted[-1].startswith("0 "):
        raise Failed(counted[-1], command=ran.command)
    return {"command": ran.command, "summary": counted[-1]}


def networks(settings: Settings) -> tuple[str, ...]:
    return NETWORKS[:1] if settings.quick else NETWORKS


def output(command: list[str]) -> str:
    """What a command prints; nothing where it cannot be run."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.strip() if ran.returncode == 0 else ""


def lines_of(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []
