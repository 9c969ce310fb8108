"""The map of heads: every head of a model in its layer, shaded by its score around zero; geometry only."""

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.reports.axes import Tick
from tasks.reports.cells import NO_VALUE, Grid, decimal_text, finite
from tasks.reports.charts import WIDTH

SHADES = 4
"""Shades either side of zero; each begins at twice the value of the one before, so that one large score hides no other."""
LEAST_CELL = 10.0
MOST_CELL = (46.0, 22.0)
TICK_ROOM = (28.0, 14.0)
"""Room that a label of a column and of a row needs."""

Heads = Mapping[tuple[int, int], float | None]
"""Score by (layer, head); None where there is none."""


@dataclass(frozen=True)
class HeadCell:
    """One head: its place in the row, the CSS class of its shade, its name and value, and whether it is among the highest."""

    x: float
    shade: str
    title: str
    is_top: bool


@dataclass(frozen=True)
class HeadRow:
    """The heads of one layer."""

    y: float
    cells: tuple[HeadCell, ...]


@dataclass(frozen=True)
class Swatch:
    """One entry of the legend: the CSS class of a shade and the values it stands for."""

    shade: str
    text: str


@dataclass(frozen=True)
class HeadMap:
    """Layers down, heads across; `minus` holds the paths that mark negative cells, over light and over dark shades."""

    slug: str
    title: str
    description: str
    width: float
    height: float
    left: float
    top: float
    cell_width: float
    cell_height: float
    rows: tuple[HeadRow, ...]
    row_ticks: tuple[Tick, ...]
    column_ticks: tuple[Tick, ...]
    minus: tuple[str, str]
    legend: tuple[Swatch, ...]
    data: Grid

    @property
    def is_wide(self) -> bool:
        """True: wider than the other charts, so it scrolls sideways on a narrow page."""
        return self.width > WIDTH


def head_name(layer: int, head: int) -> str:
    """A head as prose and plots write it: `L12H3`, both from 0."""
    return f"L{layer}H{head}"


def shade_of(value: float | None, peak: float) -> str:
    """The shade of a value: `p1` to `p4` above zero, `n1` to `n4` below, `z` near zero, `none` without a value.

    Args:
        value: the score.
        peak: the largest absolute score; shade 4 begins at its half, shade 3 at its quarter, and so on.
    """
    number = finite(value)
    if number is None:
        return "none"
    reached = sum(abs(number) >= peak / 2**n for n in range(1, SHADES + 1)) if peak > 0 else 0
    return f"{'p' if number > 0 else 'n'}{reached}" if reached else "z"


def head_map(slug: str, title: str, scores: Heads, top: frozenset[tuple[int, int]], digits: int, data: Grid) -> HeadMap:
    """The map of a score.

    Args:
        slug: prefix of the ids on the page.
        title: what is shown.
        scores: the score of every head.
        top: the heads that are outlined.
        digits: decimals of the values.
        data: the table that stands in for the map.
    """
    layers, heads = (1 + max((key[axis] for key in scores), default=-1) for axis in (0, 1))
    left, head_room = 38.0, 18.0
    wide = min(MOST_CELL[0], max(LEAST_CELL, (WIDTH - left) // max(heads, 1)))
    tall = min(MOST_CELL[1], wide)
    peak = max((abs(v) for v in scores.values() if finite(v) is not None and v is not None), default=0.0)
    rows = tuple(
        HeadRow(
            head_room + tall * layer,
            tuple(
                HeadCell(
                    left + wide * head,
                    shade_of(scores[layer, head], peak),
                    f"{head_name(layer, head)}: {decimal_text(scores[layer, head], digits)}",
                    (layer, head) in top,
                )
                for head in range(heads)
                if (layer, head) in scores
            ),
        )
        for layer in range(layers)
    )
    return HeadMap(
        slug=slug,
        title=title,
        description=_describe(scores, digits),
        width=max(WIDTH, left + wide * heads),
        height=head_room + tall * layers + 4,
        left=left,
        top=head_room,
        cell_width=wide - 1,
        cell_height=tall - 1,
        rows=rows,
        row_ticks=_ticks("L", layers, head_room + tall / 2, tall, TICK_ROOM[1]),
        column_ticks=_ticks("H", heads, left + wide / 2, wide, TICK_ROOM[0]),
        minus=_minus(rows, wide - 1, tall - 1),
        legend=_legend({cell.shade for row in rows for cell in row.cells}, peak, digits),
        data=data,
    )


def _ticks(letter: str, count: int, start: float, size: float, room: float) -> tuple[Tick, ...]:
    step = next(n for n in (1, 2, 4, 5, 10, 20, 50, 100, 1000) if n * size >= room)
    return tuple(Tick(round(start + size * n, 1), f"{letter}{n}") for n in range(0, count, step))


def _minus(rows: tuple[HeadRow, ...], width: float, height: float) -> tuple[str, str]:
    def path(shades: tuple[str, ...]) -> str:
        marks = [(cell.x, row.y) for row in rows for cell in row.cells if cell.shade in shades]
        return " ".join(f"M {x + width / 2 - 3:g} {y + height / 2:g} h 6" for x, y in marks)

    return path(("n1", "n2")), path(("n3", "n4"))


def _legend(used: set[str], peak: float, digits: int) -> tuple[Swatch, ...]:
    edges = [decimal_text(peak / 2**n, digits) for n in range(SHADES, -1, -1)]  # peak / 16 ... peak
    texts = {"z": f"nearer to zero than {edges[0]}", "none": NO_VALUE}
    for n in range(1, SHADES + 1):
        texts |= {f"p{n}": f"{edges[n - 1]} to {edges[n]}", f"n{n}": f"\N{MINUS SIGN}{edges[n]} to \N{MINUS SIGN}{edges[n - 1]}"}
    order = [*(f"n{n}" for n in range(SHADES, 0, -1)), "z", *(f"p{n}" for n in range(1, SHADES + 1)), "none"]
    return tuple(Swatch(shade, texts[shade]) for shade in order if shade in used)


def _describe(scores: Heads, digits: int) -> str:
    known = {key: value for key, value in scores.items() if finite(value) is not None and value is not None}
    if not known:
        return "No values."
    most, least = (f(known, key=lambda key: known[key]) for f in (max, min))
    ends = [f"{head_name(*key)} {decimal_text(known[key], digits)}" for key in (most, least)]
    return f"Scores of {len(known):,} heads: highest {ends[0]}, lowest {ends[1]}. The table below names the highest."
