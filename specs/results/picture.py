"""Draws `table1.svg`, the picture of the README: learning rate and test accuracy of each policy of Table 1, mean over seeds.

`results.py page` calls it. SVG by hand, so that the same numbers give the same bytes whatever is installed.
"""

import html
import math

WIDTH, HEIGHT = 900, 330
PANELS = [(62, 430), (498, 790)]  # left and right of each panel; names of lines stand beside the second
TOP, BOTTOM = 44, 282
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]  # Okabe and Ito's

STYLE = """
text { font: 13px sans-serif; fill: #333 }
.title { font-weight: bold }
.grid { stroke: #8884; stroke-width: 1 }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
"""

Line = list[tuple[float, float]]


def ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers from `low` to `high`, at most `most` steps apart from end to end."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(factor * power for factor in (1, 2, 5, 10) if (high - low) / (factor * power) <= most)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step * (1 + 1e-9)) + 1)]


def panel(index: int, title: str, lines: dict[str, Line], low: float, show) -> list[str]:
    """One coordinate system and its lines."""
    left, right = PANELS[index]
    last = max(x for line in lines.values() for x, _ in line)
    high = max(y for line in lines.values() for _, y in line)

    def at_x(x: float) -> float:
        return left + (right - left) * x / last

    def at_y(y: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (min(max(y, low), high) - low) / (high - low)

    parts = [f'<text class="title" x="{left}" y="24">{title}</text>']
    for y in ticks(low, high):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{at_y(y) + 4:.1f}" text-anchor="end">{show(y)}</text>')
    for x in ticks(0, last, most=(right - left) // 60):
        parts.append(f'<text x="{at_x(x):.1f}" y="{BOTTOM + 20}" text-anchor="middle">{x:,.0f}</text>')
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">iteration</text>')
    for colour, line in zip(COLOURS, lines.values()):
        points = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line if y >= low)
        parts.append(f'<polyline class="line" stroke="{colour}" points="{points}"/>')
    return parts


def draw(rates: dict[str, Line], accuracies: dict[str, Line]) -> str:
    """The picture. Both dictionaries have the same policies; an accuracy is in percent."""
    parts = panel(0, "learning rate", rates, 0.0, lambda y: f"{y:g}")
    parts += panel(1, "test accuracy, %", accuracies, 50.0, lambda y: f"{y:.0f}")
    beside = PANELS[1][1] + 12
    by_end = sorted(range(len(accuracies)), key=lambda index: -list(accuracies.values())[index][-1][1])
    for place, index in enumerate(by_end):
        name, line = list(accuracies.items())[index]
        y = TOP + 18 + 34 * place
        parts.append(f'<text x="{beside}" y="{y}" style="fill: {COLOURS[index]}" class="title">{html.escape(name)}</text>')
        parts.append(f'<text x="{beside}" y="{y + 15}">{line[-1][1]:.1f} %</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"
