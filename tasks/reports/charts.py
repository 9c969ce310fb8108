"""Geometry of the charts: numbers in, coordinates out. `charts.html.jinja` draws them, so all text is escaped there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.reports.axes import Scale, Tick, axis_ticks, place_at, value_range
from tasks.reports.cells import NO_VALUE, Cell, Grid, decimal_text, finite, range_text, signed_text

WIDTH = 420.0
"""User units; at a phone's 350 pixels the 13-unit text is still 11 pixels high."""
ROW_HEIGHT = 26.0
CHAR_WIDTH = 7.1
PLOT_HEIGHT = 190.0
STYLE_COUNT = 6
"""Lines that `report.css` tells apart by colour and dashes."""


@dataclass(frozen=True)
class Mark:
    """One row of a dot chart: a value with its interval, in the unit of the axis."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    shape: str = "circle"
    note: str = ""


@dataclass(frozen=True)
class DotRow:
    """A mark with its coordinates; what is not finite has none and is not drawn."""

    label: str
    text: str
    shape: str
    y: float
    x: float | None
    x_low: float | None
    x_high: float | None


@dataclass(frozen=True)
class DotChart:
    """Values with intervals, one row each."""

    slug: str
    title: str
    description: str
    unit: str
    height: float
    left: float
    right: float
    rows: tuple[DotRow, ...]
    ticks: tuple[Tick, ...]
    zero_x: float | None
    data: Grid


@dataclass(frozen=True)
class Point:
    """One place of a curve: its mean with its band, and the items it is a mean over."""

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None
    item_count: int | None = None


@dataclass(frozen=True)
class Series:
    """A named curve; `is_reference` draws it as a thin dashed line."""

    label: str
    points: tuple[Point, ...]
    is_reference: bool = False


@dataclass(frozen=True)
class Line:
    """A curve with its coordinates: SVG paths of the line and of its band, and the drawn points."""

    label: str
    style: int
    is_reference: bool
    path: str
    band: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LineChart:
    """Curves over one axis; `note` stands below its title."""

    slug: str
    title: str
    description: str
    x_label: str
    height: float
    left: float
    right: float
    top: float
    bottom: float
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    data: Grid
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One bar with its coordinates and the texts below and above it."""

    x: float
    y: float
    width: float
    height: float
    label: str
    text: str


@dataclass(frozen=True)
class BarChart:
    """Counts by group."""

    slug: str
    title: str
    description: str
    x_label: str
    height: float
    left: float
    right: float
    bottom: float
    bars: tuple[Bar, ...]
    data: Grid


def dot_chart(slug: str, title: str, unit: str, marks: Sequence[Mark], has_zero: bool = False, digits: int = 1) -> DotChart:
    """Rows of values with intervals over a common axis; `has_zero` puts the zero line into the axis."""
    left = 8 + CHAR_WIDTH * max((len(m.label) for m in marks), default=0)
    right = WIDTH - 8 - CHAR_WIDTH * max((len(_row_text(m, digits, has_zero)) for m in marks), default=0)
    low, high = value_range([v for m in marks for v in (m.value, m.low, m.high)], has_zero)
    scale = Scale(low, high, left + 6, right - 6)
    rows = tuple(
        DotRow(
            mark.label,
            _row_text(mark, digits, has_zero),
            mark.shape,
            ROW_HEIGHT * (i + 0.5),
            place_at(scale, mark.value),
            place_at(scale, mark.low),
            place_at(scale, mark.high),
        )
        for i, mark in enumerate(marks)
    )
    return DotChart(
        slug=slug,
        title=title,
        description=_describe_marks(marks, unit, digits, has_zero),
        unit=unit,
        height=ROW_HEIGHT * len(marks) + 40,
        left=left,
        right=right,
        rows=rows,
        ticks=axis_ticks(scale) if marks else (),
        zero_x=scale.at(0) if has_zero else None,
        data=_mark_grid(slug, title, unit, marks, digits, has_zero),
    )


def _row_text(mark: Mark, digits: int, is_signed: bool) -> str:
    return ", ".join(part for part in (_value_text(mark, digits, is_signed), mark.note) if part)


def _value_text(mark: Mark, digits: int, is_signed: bool) -> str:
    return signed_text(mark.value, digits) if is_signed else decimal_text(mark.value, digits)


def _describe_marks(marks: Sequence[Mark], unit: str, digits: int, is_signed: bool) -> str:
    known = [m for m in marks if finite(m.value) is not None]
    if not known:
        return "No values."
    least, most = (f(known, key=lambda m: m.value or 0.0) for f in (min, max))
    ends = [f"{m.label} {_value_text(m, digits, is_signed)}" for m in (least, most)]
    return f"{len(known)} values with 95% intervals, in {unit}: lowest {ends[0]}, highest {ends[1]}."


def _mark_grid(slug: str, title: str, unit: str, marks: Sequence[Mark], digits: int, is_signed: bool) -> Grid:
    has_notes = any(m.note for m in marks)
    columns = ("system", unit, "95% interval", *(("p-value",) if has_notes else ()))
    rows = tuple(
        (
            Cell(m.label),
            Cell(_value_text(m, digits, is_signed)),
            Cell(range_text(m.low, m.high, digits)),
            *((Cell(m.note),) if has_notes else ()),
        )
        for m in marks
    )
    return Grid(f"{slug}-data", f"{title}: the numbers", columns, rows)


def line_chart(
    slug: str,
    title: str,
    x_label: str,
    series: Sequence[Series],
    digits: int = 3,
    x_range: tuple[float, float] | None = None,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    y_range: tuple[float, float] | None = None,
) -> LineChart:
    """Curves with bands; a gap in the values is a gap in the line.

    Args:
        slug: prefix of the ids on the page.
        title: what is shown.
        x_label: what the axis holds.
        series: the curves.
        digits: decimals of the values in words.
        x_range: both ends of the axis; None: from the data.
        x_ticks: labelled places on the axis; None: round numbers.
        y_range: both ends of the upright axis; None: from the data.
    """
    points = [p for s in series for p in s.points]
    y_low, y_high = y_range or value_range([v for p in points for v in (p.y, p.low, p.high)])
    x_low, x_high = x_range or value_range(p.x for p in points)
    left, top = 50.0, 8.0
    bottom, right = top + PLOT_HEIGHT, WIDTH - 12
    across, up = Scale(x_low, x_high, left, right), Scale(y_low, y_high, bottom, top)
    own = iter(range(len(series)))
    return LineChart(
        slug=slug,
        title=title,
        description=_describe_series(series, digits),
        x_label=x_label,
        height=bottom + 40,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        lines=tuple(_line(s, -1 if s.is_reference else next(own) % STYLE_COUNT, across, up) for s in series),
        x_ticks=_x_ticks(across, x_ticks) if points else (),
        y_ticks=axis_ticks(up, 5) if points else (),
        data=_series_grid(slug, title, x_label, series, digits),
    )


def _x_ticks(across: Scale, labelled: Sequence[tuple[float, str]] | None) -> tuple[Tick, ...]:
    return axis_ticks(across, 5) if labelled is None else tuple(Tick(across.at(x), text) for x, text in labelled)


def unbroken(points: Sequence[Point]) -> tuple[tuple[Point, ...], ...]:
    """Runs of neighbouring points with a value, in order of x."""
    runs: list[list[Point]] = [[]]
    for point in sorted(points, key=lambda p: p.x):
        if finite(point.y) is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return tuple(tuple(run) for run in runs if run)


def _line(series: Series, style: int, across: Scale, up: Scale) -> Line:
    runs = [[(across.at(p.x), up.at(p.y or 0.0)) for p in run] for run in unbroken(series.points)]
    banded = [p if None not in (finite(p.low), finite(p.high)) else replace(p, y=None) for p in series.points]
    bands = [
        [(across.at(p.x), up.at(p.high or 0.0)) for p in run] + [(across.at(p.x), up.at(p.low or 0.0)) for p in reversed(run)]
        for run in unbroken(banded)
    ]
    return Line(
        label=series.label,
        style=style,
        is_reference=series.is_reference,
        path=" ".join(_path(run) for run in runs),
        band=" ".join(f"{_path(run)} Z" for run in bands),
        dots=tuple(place for run in runs for place in run) if not series.is_reference else (),
    )


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M " + " L ".join(f"{x:g} {y:g}" for x, y in places)


def _describe_series(series: Sequence[Series], digits: int) -> str:
    parts = []
    for one in series:
        known = [p for run in unbroken(one.points) for p in run]
        if known:
            first, last = known[0], known[-1]
            parts.append(
                f"{one.label}: {decimal_text(first.y, digits)} at {first.x:g}, {decimal_text(last.y, digits)} at {last.x:g}"
            )
    return "; ".join(parts) + "." if parts else "No values."


def _series_grid(slug: str, title: str, x_label: str, series: Sequence[Series], digits: int) -> Grid:
    xs = sorted({p.x for s in series for p in s.points})
    at = [{p.x: p for p in s.points} for s in series]
    rows = tuple((Cell(f"{x:g}"), *(_point_cell(points.get(x), digits) for points in at)) for x in xs)
    return Grid(f"{slug}-data", f"{title}: the numbers", (x_label, *(s.label for s in series)), rows)


def _point_cell(point: Point | None, digits: int) -> Cell:
    if point is None:
        return Cell(NO_VALUE)
    band = range_text(point.low, point.high, digits)
    count = "" if point.item_count is None else f"n = {point.item_count:,}"
    return Cell(decimal_text(point.y, digits), ", ".join(part for part in (band, count) if part))


def bar_chart(slug: str, title: str, x_label: str, counts: Sequence[tuple[str, int]]) -> BarChart:
    """Bars of counts from zero, in the order given."""
    left, right, top = 8.0, WIDTH - 8, 22.0
    bottom = top + 120
    most = max((count for _, count in counts), default=0) or 1
    slot = (right - left) / max(len(counts), 1)
    up = Scale(0, most, bottom, top)
    bars = tuple(
        Bar(round(left + slot * i + 2, 1), up.at(n), round(slot - 4, 1), round(bottom - up.at(n), 1), label, f"{n:,}")
        for i, (label, n) in enumerate(counts)
    )
    total = sum(n for _, n in counts)
    peak = max(counts, key=lambda pair: pair[1], default=("", 0))
    rows = tuple((Cell(label), Cell(f"{n:,}")) for label, n in counts)
    return BarChart(
        slug=slug,
        title=title,
        description=f"{total:,} in {len(counts)} groups; most in {peak[0]}: {peak[1]:,}." if total else "No values.",
        x_label=x_label,
        height=bottom + 42,
        left=left,
        right=right,
        bottom=bottom,
        bars=bars,
        data=Grid(f"{slug}-data", f"{title}: the numbers", (x_label, "count"), rows),
    )
