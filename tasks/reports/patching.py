"""Causal tests: how far patching heads takes a run to the other, for the best heads, as many at random, as many of the lowest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from schemas.fields import DIRECTIONS, HEAD_SETS, OUTCOME_QUANTITIES
from tasks.reports.axes import value_range
from tasks.reports.cells import NO_VALUE, Cell, Grid, count_text, decimal_text, finite, percent_range_text, percent_text
from tasks.reports.charts import LineChart, Point, Series, line_chart
from tasks.reports.heads import COARSE, REFINE, decimals_for

X_LABEL = "heads patched together"
PANEL = ("model", "phase", "direction", "corruption", "patched_part", "outcome_quantity")
SET = ("head_set", "head_count")
PHASES = {"shortlist": ("Phase 1, shortlist", COARSE.name), "refine": ("Phase 2, refine", REFINE.name)}
QUANTITIES = {"margin": "margin", "focus": "Focus of generated steps", "confusion": "Confusion of generated steps"}
PARTS = {"pattern": "attention patterns", "output": "outputs of heads"}
CORRUPTIONS = {"swap": "anchors swapped with another document's", "mask": "anchors masked"}
DRAWN = ("y", "low", "high")
SHARES = ("effect_frac", "effect_low", "effect_high")
VALUES = ("value", "low", "high")
ROOM = 0.15
"""Room above and below the values, as a part of their span; intervals are cut there."""


@dataclass(frozen=True)
class Panel:
    """All sets of heads in one test, judged by one quantity: one row a set (`head_set`) and size (`head_count`)."""

    model: str
    phase: str
    direction: str
    corruption: str
    patched_part: str
    outcome_quantity: str
    rows: pl.DataFrame

    @property
    def slug(self) -> str:
        """Prefix of the ids on the page."""
        return "-".join(("patch", self.phase, self.direction, self.outcome_quantity, self.corruption, self.patched_part))

    @property
    def title(self) -> str:
        """What is tested, and by what it is judged."""
        return f"{PHASES[self.phase][0]}, {self.direction}: {QUANTITIES[self.outcome_quantity]}"

    @property
    def has_shares(self) -> bool:
        """False: clean and corrupted run do not differ, so that there is no distance to go."""
        return self.rows["effect_frac"].null_count() < len(self.rows)

    @property
    def runs(self) -> tuple[str, str]:
        """The run that is patched (0%), and the run that the patch comes from (100%)."""
        return ("corrupted", "clean") if self.direction == "denoise" else ("clean", "corrupted")

    @property
    def bins(self) -> tuple[int, ...]:
        """The sizes of the sets, in order."""
        return tuple(self.rows["head_count"].unique().sort())


def one_row_a_set(effects: pl.DataFrame) -> pl.DataFrame:
    """Random draws of one size as one row: their mean, and the range that 95% of them lie in; as the view `patching`.

    Returns:
        Rows by the columns of `PANEL` and `SET`; a set that was drawn once keeps its interval over documents.
    """

    def low(column: str, own: str) -> pl.Expr:
        return pl.when(pl.len() == 1).then(pl.col(own).min()).otherwise(pl.col(column).quantile(0.025, "linear"))

    def high(column: str, own: str) -> pl.Expr:
        return pl.when(pl.len() == 1).then(pl.col(own).max()).otherwise(pl.col(column).quantile(0.975, "linear"))

    return effects.group_by(*PANEL, *SET).agg(
        pl.len().alias("draw_count"),
        pl.col("value", "clean_value", "corrupted_value", "effect_frac").mean(),
        low("value", "ci_low").alias("low"),
        high("value", "ci_high").alias("high"),
        low("effect_frac", "effect_ci_low").alias("effect_low"),
        high("effect_frac", "effect_ci_high").alias("effect_high"),
        pl.col("document_count").min(),
    )


def panels(effects: pl.DataFrame) -> tuple[Panel, ...]:
    """The tests of `core_patch_effects`: phase 1 before phase 2, denoise before noise, the margin before generated steps."""
    rows = one_row_a_set(effects)
    keys = rows.select(PANEL).unique().rows()
    orders = (list(PHASES), DIRECTIONS, OUTCOME_QUANTITIES)

    def place(key: tuple[str, ...]) -> tuple[object, ...]:
        return (key[0], *(order.index(key[i]) for order, i in zip(orders, (1, 2, 5), strict=True)), key)

    return tuple(Panel(**dict(zip(PANEL, key, strict=True)), rows=_rows_of(rows, key)) for key in sorted(keys, key=place))


def _rows_of(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    is_own = pl.all_horizontal(pl.col(column) == value for column, value in zip(PANEL, key, strict=True))
    return rows.filter(is_own).sort("head_count", "head_set")


def panel_chart(panel: Panel) -> LineChart:
    """Share of the distance that the patch goes, by heads patched; 0% is the run that is patched, 100% the other.

    Where no share is defined, the values themselves, with those of both runs.
    """
    shown = _shares(panel) if panel.has_shares else _values(panel)
    places = {count: float(i) for i, count in enumerate(panel.bins)}
    ends = (-0.4, len(places) - 0.6)
    levels = [Series(name, tuple(Point(x, y) for x in ends), is_reference=True) for name, y in shown.levels]
    sets = [Series(_set_name(panel, name), _points(shown.rows, name, places, shown.reach)) for name in _sets(panel)]
    ticks = tuple((x, count_text(count)) for count, x in places.items())
    series = [*sets, *levels]
    chart = line_chart(panel.slug, panel.title, X_LABEL, series, shown.digits, x_range=ends, x_ticks=ticks, y_range=shown.reach)
    described = _describe(panel) if panel.has_shares else chart.description
    return replace(chart, note=panel_note(panel), data=panel_grid(panel), description=described)


@dataclass(frozen=True)
class Shown:
    """What a panel draws: rows of (head_set, head_count, y, low, high, document_count), both runs, and the ends of the axis."""

    rows: pl.DataFrame
    levels: tuple[tuple[str, float], ...]
    reach: tuple[float, float]
    digits: int


def _shares(panel: Panel) -> Shown:
    percent = [(pl.col(column) * 100).alias(name) for name, column in zip(DRAWN, SHARES, strict=True)]
    rows = panel.rows.select(*SET, *percent, "document_count")
    levels = tuple((f"{share:.0f}%: as the {run} run", share) for share, run in zip((0.0, 100.0), panel.runs, strict=True))
    return Shown(rows, levels, _reach(panel.rows), 1)


def _values(panel: Panel) -> Shown:
    rows = panel.rows.select(
        *SET, *(pl.col(column).alias(name) for name, column in zip(DRAWN, VALUES, strict=True)), "document_count"
    )
    levels = tuple((f"{run} run", float(panel.rows[f"{run}_value"][0])) for run in panel.runs)
    known = [*rows["y"], *rows["low"], *rows["high"], *(value for _, value in levels)]
    return Shown(rows, levels, value_range(known), decimals_for(known))


def _sets(panel: Panel) -> list[str]:
    return [name for name in HEAD_SETS if name in panel.rows["head_set"]]


def _of_set(panel: Panel, head_set: str) -> pl.DataFrame:
    return panel.rows.filter(pl.col("head_set") == head_set)


def _set_name(panel: Panel, head_set: str) -> str:
    if head_set != "random":
        return f"{PHASES[panel.phase][1]} {'highest' if head_set == 'top' else 'nearest to 0'}"
    draws = max(_of_set(panel, head_set)["draw_count"])
    return f"random, mean and 95% of {draws} draws" if draws > 1 else "random, one draw"


def _points(rows: pl.DataFrame, head_set: str, places: Mapping[int, float], reach: tuple[float, float]) -> tuple[Point, ...]:
    own = rows.filter(pl.col("head_set") == head_set).with_columns(pl.col("low", "high").clip(*reach))
    return tuple(Point(places[count], *values) for count, *values in own.drop("head_set").iter_rows())


def _percent(frac: float | None) -> float | None:
    return None if finite(frac) is None or frac is None else 100 * frac


def _reach(rows: pl.DataFrame) -> tuple[float, float]:
    known = [0.0, 100.0, *(v for v in map(_percent, rows["effect_frac"]) if v is not None)]
    room = ROOM * (max(known) - min(known))
    return min(known) - room, max(known) + room


def _is_cut(rows: pl.DataFrame) -> bool:
    low, high = _reach(rows)
    ends = [v for column in ("effect_low", "effect_high") for v in map(_percent, rows[column]) if v is not None]
    return any(v < low or v > high for v in ends)


def panel_note(panel: Panel) -> str:
    """What is patched, both runs' values, and over how many documents."""
    row = panel.rows.row(0, named=True)
    digits = decimals_for((row["clean_value"], row["corrupted_value"]))
    unit = " logits" if panel.outcome_quantity == "margin" else ""
    start, goal = (f"{run} run ({decimal_text(row[f'{run}_value'], digits)}{unit})" for run in panel.runs)
    how = f"{row['document_count']:,} documents; {PARTS[panel.patched_part]} patched, {CORRUPTIONS[panel.corruption]}."
    if not panel.has_shares:
        return f"The {start} and the {goal} do not differ surely, so the values are shown instead of a share; {how}"
    parts = [f"Percent of the way from the {start} to the {goal}; {how}"]
    if _is_cut(panel.rows):
        parts.append("Intervals are cut at the edge of the chart; the table has them whole.")
    return " ".join(parts)


def panel_grid(panel: Panel) -> Grid:
    """Shares in percent with intervals, and the value itself below."""
    digits = decimals_for([*panel.rows["value"], *panel.rows["clean_value"]])
    cells = {(row["head_set"], row["head_count"]): _cell(row, digits) for row in panel.rows.iter_rows(named=True)}
    rows = tuple(
        (Cell(count_text(count)), *(cells.get((name, count), Cell(NO_VALUE)) for name in _sets(panel))) for count in panel.bins
    )
    caption = f"{panel.title}: percent of the distance, with 95% intervals, and the value itself"
    return Grid(f"{panel.slug}-data", caption, ("heads", *(_set_name(panel, name) for name in _sets(panel))), rows)


def _cell(row: Mapping[str, float | None], digits: int) -> Cell:
    interval = percent_range_text(row["effect_low"], row["effect_high"])
    return Cell(
        percent_text(row["effect_frac"]), ", ".join(t for t in (interval, f"value {decimal_text(row['value'], digits)}") if t)
    )


def _describe(panel: Panel) -> str:
    parts = []
    for name in _sets(panel):
        known = _of_set(panel, name).filter(pl.col("effect_frac").is_finite()).select("head_count", "effect_frac").rows()
        if known:
            (first, start), (last, end) = known[0], known[-1]
            ends = f"{percent_text(start)}% at {first:,} heads, {percent_text(end)}% at {last:,}"
            parts.append(f"{_set_name(panel, name)}: {ends}")
    return ("Percent of the distance. " + "; ".join(parts) + ".") if parts else "No values."
