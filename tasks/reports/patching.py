"""Causal tests: how far patching heads takes a run to the other, for the best heads, as many at random, as many of the lowest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from schemas.fields import DIRECTIONS, HEAD_SETS, OUTCOME_QUANTITIES
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
    """Share of the distance that the patch goes, by heads patched; 0% is the run that is patched, 100% the other."""
    reach = _reach(panel.rows)
    places = {count: float(i) for i, count in enumerate(panel.bins)}
    ends = (-0.4, len(places) - 0.6)
    lines = [_level(percent, run, ends) for percent, run in zip((0.0, 100.0), panel.runs, strict=True)]
    sets = [Series(_set_name(panel, name), _points(_of_set(panel, name), places, reach)) for name in _sets(panel)]
    ticks = tuple((x, count_text(count)) for count, x in places.items())
    chart = line_chart(panel.slug, panel.title, X_LABEL, [*sets, *lines], 1, x_range=ends, x_ticks=ticks, y_range=reach)
    return replace(chart, note=panel_note(panel), data=panel_grid(panel), description=_describe(panel))


def _sets(panel: Panel) -> list[str]:
    return [name for name in HEAD_SETS if name in panel.rows["head_set"]]


def _of_set(panel: Panel, head_set: str) -> pl.DataFrame:
    return panel.rows.filter(pl.col("head_set") == head_set)


def _set_name(panel: Panel, head_set: str) -> str:
    if head_set != "random":
        return f"{PHASES[panel.phase][1]} {'highest' if head_set == 'top' else 'nearest to 0'}"
    draws = max(_of_set(panel, head_set)["draw_count"])
    return f"random, mean and 95% of {draws} draws" if draws > 1 else "random, one draw"


def _level(percent: float, run: str, ends: tuple[float, float]) -> Series:
    return Series(f"{percent:.0f}%: as the {run} run", tuple(Point(x, percent) for x in ends), is_reference=True)


def _points(rows: pl.DataFrame, places: Mapping[int, float], reach: tuple[float, float]) -> tuple[Point, ...]:
    shares = pl.col("effect_frac") * 100, (pl.col("effect_low", "effect_high") * 100).clip(*reach)
    percent = rows.select("head_count", *shares, "document_count")
    return tuple(Point(places[count], *values) for count, *values in percent.iter_rows())


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
    how = f"{PARTS[panel.patched_part]} patched, {CORRUPTIONS[panel.corruption]}"
    parts = [f"Percent of the way from the {start} to the {goal}; {row['document_count']:,} documents; {how}."]
    if panel.rows["effect_frac"].null_count() == len(panel.rows):
        parts.append("The interval of clean minus corrupted includes 0, so that no share is defined; the table has the values.")
    elif _is_cut(panel.rows):
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
