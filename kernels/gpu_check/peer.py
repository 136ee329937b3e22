"""PyTorch on the same GPU, measured by a script of its own."""

import json
import os
import subprocess
from collections.abc import Iterator

from .checks import NETWORKS, PRECISIONS
from .program import run_for
from .units import Failed, Settings, Skipped, Unit

SCRIPT = "plugins/cifar/parity/gpu_peer.py"
ABSENT = "import torch, sys; sys.exit(0 if torch.cuda.is_available() else 3)"


def units(settings: Settings) -> Iterator[Unit]:
    for network in NETWORKS[:1] if settings.quick else NETWORKS:
        for precision in PRECISIONS[:1] if settings.quick else PRECISIONS:
            yield Unit(
                f"{network} {precision}",
                60,
                lambda network=network, precision=precision: measure(settings, network, precision),
            )


def measure(settings: Settings, network: str, precision: str) -> dict:
    index = settings.program.device.partition(":")[2] or "0"
    environment = dict(os.environ, CUDA_VISIBLE_DEVICES=index)
    try:
        asked = subprocess.run([settings.python, "-c", ABSENT], env=environment, capture_output=True, timeout=120)
    except OSError as error:
        raise Skipped(f"{settings.python}: {error}") from error
    if asked.returncode != 0:
        why = "has no PyTorch" if asked.returncode != 3 else "has a PyTorch that finds no GPU"
        raise Skipped(f"{settings.python} {why}: nothing to compare with")
    command = [settings.python, str(settings.repository / SCRIPT), "--arch", network, "--precision", precision]
    command += ["--trials", "2", "--seconds", "0.1"] if settings.quick else ["--trials", "8", "32", "128"]
    ran = run_for(settings.program.limit, command, environment)
    rows = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    fields = {"network": network, "precision": precision, "rows": rows, "command": " ".join(command)}
    measured = [row for row in rows if "ms" in row]
    if ran.code != 0 or not measured:
        raise Failed(f"ended with {ran.code}: {ran.stderr[-2000:]}", **fields)
    failed = [f"{row['mode']} of {row['trials']}: {row['error']}" for row in rows if "error" in row]
    summary = ", ".join(f"{row['mode']} K={row['trials']} {row['ms']:.3g} ms" for row in measured)
    return {**fields, "summary": summary + (f"; failed: {'; '.join(failed)}" if failed else "")}
