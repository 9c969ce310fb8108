"""The growth of label indexes as an SVG: three panels over the number of labels, both axes logarithmic, a line a side."""

import json
import math
import sys
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, MARGIN, GAP = 300, 220, 72, 34
COLOURS = ("#0b5fa5", "#7a7a7a", "#b3541e", "#2e7d32", "#8e44ad", "#111111")
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4", "10 4")
Figures = Mapping[str, Any]  # JSON: each key has its own type

PANELS: tuple[tuple[str, Callable[[Figures], float | None]], ...] = (
    ("CPU ms a query at recall@100 0.97", lambda f: f["at_target"] and f["at_target"]["cpu_ms"]),
    ("CPU seconds to build", lambda f: f["build"]["cpu_s"]),
    ("MB of memory to serve", lambda f: f["ram_mb"]),
)


def draw(result: Figures) -> str:
    """The chart of a result of `test_label_index_bench`."""
    sizes = result["sizes"]
    sides = list(next(iter(sizes.values())))
    width = MARGIN + len(PANELS) * (WIDTH + MARGIN)
    height = HEIGHT + 2 * GAP + 20 * ((len(sides) + 2) // 3) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"',
        ' font-family="sans-serif" font-size="12">',
        f"<title>Label indexes from {min(map(int, sizes)):,} to {max(map(int, sizes)):,} labels</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for place, (title, value) in enumerate(PANELS):
        points = {side: [(int(n), v) for n, of in sizes.items() if (v := value(of[side]))] for side in sides}
        parts += _panel(MARGIN + place * (WIDTH + MARGIN), title, points)
    for place, side in enumerate(sides):
        x, y = MARGIN + (place % 3) * (WIDTH + MARGIN), HEIGHT + 2 * GAP + 24 + 20 * (place // 3)
        parts.append(_line([(x, y - 4), (x + 34, y - 4)], place))
        parts.append(f'<text x="{x + 42}" y="{y}">{escape(side)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _panel(left: float, title: str, points: Mapping[str, list[tuple[int, float]]]) -> list[str]:
    flat = [point for line in points.values() for point in line]
    across = _axis([x for x, _ in flat], left, left + WIDTH)
    up = _axis([y for _, y in flat], GAP + HEIGHT, GAP)
    parts = [f'<text x="{left}" y="{GAP - 12}" font-weight="bold">{escape(title)}</text>']
    for tick in _decades([x for x, _ in flat]):
        parts.append(f'<line x1="{across(tick)}" x2="{across(tick)}" y1="{GAP}" y2="{GAP + HEIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{across(tick)}" y="{GAP + HEIGHT + 16}" text-anchor="middle">{tick:,.0f}</text>')
    for tick in _decades([y for _, y in flat]):
        parts.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{up(tick)}" y2="{up(tick)}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{up(tick) + 4}" text-anchor="end">{tick:g}</text>')
    for place, line in enumerate(points.values()):
        parts.append(_line([(across(x), up(y)) for x, y in line], place))
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{COLOURS[place]}"/>' for x, y in line]
    return parts


def _axis(values: list[float] | list[int], first: float, last: float) -> Callable[[float], float]:
    decades = _decades(values)
    low, high = math.log10(decades[0]), math.log10(decades[-1])
    return lambda value: round(first + (last - first) * (math.log10(value) - low) / max(high - low, 1e-9), 1)


def _decades(values: list[float] | list[int]) -> list[float]:
    return [10.0**e for e in range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)]


def _line(places: list[tuple[float, float]], style: int) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = f' stroke-dasharray="{DASHES[style]}"' if DASHES[style] else ""
    return f'<polyline points="{path}" fill="none" stroke="{COLOURS[style]}" stroke-width="2"{dash}/>'


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "results")
    (folder / "label_index.svg").write_text(draw(json.loads((folder / "label_index.json").read_text())))
