"""The results' file, and its content as Markdown."""

import json
from pathlib import Path
from typing import Optional


class Results:
    """A file of JSON lines, one a result; later ones replace earlier ones of the same unit."""

    def __init__(self, path: Path):
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.latest = {(result["step"], result["key"]): result for result in map(json.loads, lines)}

    def find(self, step: str, key: str) -> Optional[dict]:
        return self.latest.get((step, key))

    def of(self, step: str, status: Optional[str] = None) -> list[dict]:
        found = [result for (name, _), result in self.latest.items() if name == step]
        return [result for result in found if status in (None, result["status"])]

    def add(self, result: dict) -> None:
        """Written at once: whatever ends the process, what was measured stays."""
        self.latest[result["step"], result["key"]] = result
        with self.path.open("a") as file:
            file.write(json.dumps(result) + "\n")


CHECKS = ("hardware", "conformance", "training", "lanes", "sanitizer", "kernels", "peer", "paper")
ALONE = ("eager", "compiled", "graph")  # One model at a time.
MODES = (*ALONE, "vmap", "grouped")


def markdown(results: Results) -> str:
    """Everything that the README needs."""
    if not results.latest:
        return f"no results in {results.path}"
    parts = [machine(results), checks(results), speeds(results), kernels(results), paper(results)]
    end = f"All by `kernels/gpu-check`, which wrote the command of each line to {results.path.name}."
    return "\n\n".join(part for part in [*parts, end] if part)


def table(head: list[str], rows: list[list[object]]) -> str:
    line = lambda cells: "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def machine(results: Results) -> str:
    found = results.find("hardware", "machine")
    if not found or found["status"] != "passed":
        return f"No GPU: {found['message']}" if found else ""
    cuda = f", CUDA {found['cuda']}" if found["cuda"] else ""
    return (
        f"{found['gpu']} ({found['memory_gib']} GiB), driver {found['driver']}{cuda}; {found['cpu']}, "
        f"{found['cores']} cores; {found['clr_run']}, PyTorch {found['torch'] or 'none'}; {found['date'][:10]}"
    )


def checks(results: Results) -> str:
    rows = []
    for step in CHECKS:
        for result in results.of(step):
            message = result.get("message") or result.get("summary") or ""
            rows.append([step, result["key"], result["status"], message[:300], result["date"][:16]])
    return table(["step", "what", "result", "", "date"], rows) if rows else ""


def speeds(results: Results) -> str:
    """A row for each network, precision and number of trials; PyTorch's times are for as many trials, those of one
    model times the number of trials."""
    rows = []
    for result in results.of("speed", "measured"):
        network, precision, trials = result["network"], result["precision"], result["trials"]
        peers = {mode: of_peer(results, network, precision, mode, trials) for mode in MODES}
        of_peak = [f"{100 * result[name]:.1f}%" if name in result else "-" for name in ("of_flops", "of_bandwidth")]
        spread = f"{result['ms_least']:.3g} to {result['ms_most']:.3g}"
        images = f"{result['images_per_s']:,.0f}"
        cells = [network, precision, trials, milliseconds(result["ms"]), spread, result["calls"], images, *of_peak]
        for mode in MODES:
            ms = peers[mode]
            cells.append(f"{milliseconds(ms)} ({ms / result['ms']:.1f}x)" if ms else "-")
        rows.append(cells)
    if not rows:
        return ""
    head = ["network", "precision", "K", "ms", "least to most", "n", "images/s", "of peak FLOP/s", "of peak bandwidth"]
    batches = " or ".join(sorted({str(result["batch"]) for result in results.of("speed", "measured")}))
    note = (
        f"ms per iteration of all K trials, batches of {batches}: by the clock from call to call after a warm-up; least "
        "to most and n are of the calls, of some 0.2 s each. Bandwidth as if no two nodes were fused. PyTorch: ms for as "
        "many trials (models that are not fused: one after the other; median of 7 rounds), and how many times "
        "clr-run's that is."
    )
    return table([*head, *(f"PyTorch {mode}" for mode in MODES)], rows) + "\n\n" + note


def of_peer(results: Results, network: str, precision: str, mode: str, trials: int) -> Optional[float]:
    """PyTorch's ms per iteration of so many trials."""
    for result in results.of("peer", "passed"):
        if (result["network"], result["precision"]) != (network, precision):
            continue
        for row in result["rows"]:
            if row["mode"] == mode and "ms" in row and row["trials"] in (trials, 1):
                if row["trials"] == trials:
                    return row["ms"]
                if mode in ALONE:
                    return row["ms"] * trials
    return None


def milliseconds(ms: float) -> str:
    return f"{ms:.3f}" if ms < 10 else f"{ms:.1f}"


def kernels(results: Results) -> str:
    parts = []
    for result in results.of("kernels", "measured"):
        percent = lambda fraction: f"{100 * fraction:.0f}%"
        rows = [
            [row["kernel"], f"{row['launches']:g}", f"{row['us']:.1f}", percent(row["us"] / result["us"])]
            + [percent(row["busy"]), percent(row["memory"])]
            for row in result["rows"]
        ]
        head = ["kernel", "launches", "us", "of the time", "of peak compute", "of peak bandwidth"]
        title = f"Kernels of an iteration of {result['key']}: {result['us']:.0f} us, one by one"
        parts.append(f"{title} (n = {result['iterations']}):\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def paper(results: Results) -> str:
    parts = []
    for result in results.of("paper", "measured"):
        rows = [
            [row["policy"], row["optimizer"], f"{row['iterations']:,}", row["paper"], row["accuracy"], row["status"]]
            for row in result["rows"]
        ]
        parts.append(
            f"Tables 1 and 3 of the paper, {result['key']}, {result['seconds']:.0f} s in all, n = 1 (seed 1):\n\n"
            + table(["policy", "optimizer", "iterations", "paper", "clr-run", "status"], rows)
        )
    return "\n\n".join(parts)
