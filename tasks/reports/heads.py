"""Which heads shortlist and which refine: maps, profiles by layer and how far the ranking can be trusted."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from tasks.reports.cells import Cell, Grid, decimal_text, finite, range_text
from tasks.reports.charts import LineChart, Point, Series, line_chart
from tasks.reports.head_map import HeadMap, head_map, head_name

MOST_TOP, LEAST_TOP, TOP_SHARE = 10, 3, 4
"""Heads that are named: a quarter of all, but between three and ten."""
SIGNIFICANT_DIGITS = 3
MOST_DIGITS = 9
LAYER_TICKS = 10


@dataclass(frozen=True)
class ScoreKind:
    """One of the two head scores: its name, its columns, and the factors it is made of with their names."""

    name: str
    column: str
    low: str
    high: str
    phase: str
    factors: tuple[tuple[str, str], ...]


COARSE = ScoreKind(
    "CoarseScore",
    "coarse_score",
    "coarse_ci_low",
    "coarse_ci_high",
    "shortlist",
    (("kurtosis", "excess kurtosis"), ("anchor_alignment", "anchor alignment")),
)
REFINE = ScoreKind(
    "RefineScore",
    "refine_score",
    "refine_ci_low",
    "refine_ci_high",
    "refine",
    (("qk_refinement", "QK-refinement"), ("ov_helpfulness", "OV-helpfulness")),
)
KINDS = (COARSE, REFINE)


def decimals_for(values: Iterable[float | None]) -> int:
    """Decimals that show the largest of the values with three significant digits."""
    largest = max((abs(v) for v in values if v is not None and finite(v) is not None), default=0.0)
    if largest == 0:
        return SIGNIFICANT_DIGITS - 1
    return min(MOST_DIGITS, max(0, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(largest))))


@dataclass(frozen=True)
class Unit:
    """A power of ten that values are written in, so that small ones need no row of zeros; `suffix` names it."""

    factor: float
    suffix: str

    def of(self, value: float | None) -> float | None:
        """The value in this unit."""
        return None if value is None else value * self.factor


UNITS = (Unit(1.0, ""), Unit(1e3, " ×10⁻³"), Unit(1e6, " ×10⁻⁶"), Unit(1e9, " ×10⁻⁹"))


def unit_of(values: Iterable[float | None]) -> Unit:
    """The first unit in which the largest of the values is at least 0.01; 1 where all are zero."""
    largest = max((abs(v) for v in values if v is not None and finite(v) is not None), default=0.0)
    return next((unit for unit in UNITS if largest * unit.factor >= 0.01), UNITS[-1] if largest else UNITS[0])


def ranked(scores: pl.DataFrame, kind: ScoreKind) -> pl.DataFrame:
    """The heads of one model, highest score first; those without one last; with the column `rank`, from 1."""
    value = pl.when(pl.col(kind.column).is_finite()).then(pl.col(kind.column)).alias(kind.column)
    order = scores.with_columns(value).sort(kind.column, "layer", "head", descending=[True, False, False], nulls_last=True)
    return order.with_columns(pl.int_range(1, pl.len() + 1).alias("rank"))


def top_count(head_count: int) -> int:
    """How many of so many heads are outlined and named."""
    return min(MOST_TOP, max(LEAST_TOP, head_count // TOP_SHARE))


def score_map(scores: pl.DataFrame, kind: ScoreKind, slug: str) -> HeadMap:
    """The map of one score of one model (`core_head_scores`), with the highest heads as its table."""
    heads = ranked(scores, kind).select("layer", "head", kind.column).rows()
    unit = unit_of(value for _, _, value in heads)
    values = {(layer, head): unit.of(value) for layer, head, value in heads}
    top = frozenset([key for key, value in values.items() if value is not None][: top_count(len(values))])
    title = f"{kind.name} of every head{unit.suffix}"
    return head_map(slug, title, values, top, decimals_for(values.values()), top_grid(scores, kind, slug))


def top_grid(scores: pl.DataFrame, kind: ScoreKind, slug: str) -> Grid:
    """The heads of highest score with interval, factors, and their place by the other score."""
    other = REFINE if kind is COARSE else COARSE
    places = {(layer, head): rank for layer, head, rank in ranked(scores, other).select("layer", "head", "rank").iter_rows()}
    top = ranked(scores, kind).filter(pl.col(kind.column).is_not_null()).head(top_count(len(scores)))
    names = {kind.column: kind.name} | dict(kind.factors)
    units = {column: unit_of(top[column]) for column in names}
    digits = {column: decimals_for(map(units[column].of, top[column])) for column in names}

    def cell(row: Mapping[str, float | None], column: str) -> Cell:
        unit, decimals = units[column], digits[column]
        ends = (row[kind.low], row[kind.high]) if column == kind.column else (None, None)
        return Cell(decimal_text(unit.of(row[column]), decimals), range_text(unit.of(ends[0]), unit.of(ends[1]), decimals))

    rows = tuple(
        (
            Cell(head_name(row["layer"], row["head"])),
            *(cell(row, column) for column in names),
            Cell(f"{places[row['layer'], row['head']]:,}"),
        )
        for row in top.iter_rows(named=True)
    )
    caption = f"The {len(rows)} of {len(scores):,} heads of highest {kind.name}"
    columns = (f"{name}{units[column].suffix}" for column, name in names.items())
    return Grid(f"{slug}-top", caption, ("head", *columns, f"place by {other.name}"), rows)


def profile_chart(profiles: pl.DataFrame, kind: ScoreKind, slug: str) -> LineChart | None:
    """The mean of a score over the heads of each layer, with its interval; None where it was not measured."""
    rows = profiles.filter((pl.col("score_name") == kind.column) & (pl.col("summary") == "layer_mean")).sort("layer")
    if rows.is_empty():
        return None
    unit = unit_of(rows["value"])
    scaled = rows.with_columns(pl.col("value", "ci_low", "ci_high") * unit.factor)
    points = tuple(Point(*row) for row in scaled.select("layer", "value", "ci_low", "ci_high", "document_count").iter_rows())
    digits = decimals_for(point.y for point in points)
    first, last = points[0].x, points[-1].x
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100, 1000) if (last - first) / n <= LAYER_TICKS)
    ticks = tuple((float(layer), f"L{layer}") for layer in rows["layer"].to_list() if layer % step == 0)
    title = f"{kind.name} by layer, mean over its heads{unit.suffix}"
    room = (first - 0.5, last + 0.5)
    return line_chart(slug, title, "layer", [Series(kind.name, points)], digits, x_range=room, x_ticks=ticks)


@dataclass(frozen=True)
class Whole:
    """One summary of a score over the whole model, with its interval."""

    value: float
    low: float
    high: float
    document_count: int


def _whole(profiles: pl.DataFrame, kind: ScoreKind, summary: str) -> Whole | None:
    rows = profiles.filter((pl.col("score_name") == kind.column) & (pl.col("summary") == summary))
    found = rows.select("value", "ci_low", "ci_high", "document_count")
    return Whole(*found.row(0)) if len(found) else None


def order_sentence(profiles: pl.DataFrame, kind: ScoreKind) -> str:
    """Whether a score goes with the layer, by Spearman's correlation and its interval; empty where it was not measured."""
    found = _whole(profiles, kind, "layer_order")
    if found is None:
        return ""
    if found.low > 0 or found.high < 0:
        reading = f"heads of {'late' if found.value > 0 else 'early'} layers score higher"
    else:
        reading = "the interval includes zero: no order of layers is shown"
    value, ends = decimal_text(found.value, 2), range_text(found.low, found.high, 2)
    return f"{kind.name} and layer: Spearman correlation {value} (95% interval {ends}); {reading}."


def reliability_sentence(profiles: pl.DataFrame, kind: ScoreKind) -> str:
    """How far two halves of the documents score the heads alike; empty where it was not measured.

    The words change at 0.8 and 0.5.
    """
    found = _whole(profiles, kind, "split_half")
    if found is None:
        return ""
    words = "much alike" if found.value >= 0.8 else "partly alike" if found.value >= 0.5 else "hardly alike: take it with care"
    value, ends = decimal_text(found.value, 2), range_text(found.low, found.high, 2)
    return (
        f"Split-half reliability of {kind.name}: {value} ({ends} in 95% of the halvings); halves of {found.document_count:,} "
        f"documents score the heads {words}."
    )
