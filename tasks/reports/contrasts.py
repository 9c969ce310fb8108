"""Paired differences against the baseline, from `out_contrasts`: one sentence, the charts and the table."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from schemas.config import METHODS
from tasks.reports.cells import NO_VALUE, Cell, Grid, p_text, percent_range_text, points_text
from tasks.reports.charts import DotChart, Mark, dot_chart
from tasks.reports.results import HEADLINE, KINDS, OTHER, joined_names, story_place

SHOWN = (("P", 1), ("P", 5), ("R", 10))
TREATED = "mechanistic"
_COLUMNS = ("system", "baseline", "metric", "k", "difference", "ci_low", "ci_high", "p_value", "document_count", "seed_count")


@dataclass(frozen=True)
class Contrast:
    """System minus baseline in one metric, as shares 0 to 1, with its interval."""

    system: str
    baseline: str
    metric: str
    k: int
    difference: float
    low: float
    high: float
    p_value: float
    document_count: int
    seed_count: int

    @property
    def excludes_zero(self) -> bool:
        """True: the whole interval is on one side of zero."""
        return self.low > 0 or self.high < 0


def collect_contrasts(frame: pl.DataFrame) -> tuple[Contrast, ...]:
    """Contrasts over all labels, in the order of the story; a system against itself is left out."""
    rows = frame.filter((pl.col("segment") == "all") & (pl.col("system") != pl.col("baseline"))).select(_COLUMNS)
    return tuple(sorted((Contrast(*row) for row in rows.iter_rows()), key=lambda c: (c.baseline, *story_place(c.system))))


def contrast_sentence(contrasts: Sequence[Contrast]) -> str:
    """How far `mechanistic` is from the baseline in R@10, and whether the interval excludes zero; empty if not measured."""
    found = next((c for c in contrasts if c.system == TREATED and (c.metric, c.k) == HEADLINE), None)
    if found is None:
        return ""
    direction = "helps" if found.difference > 0 else "hurts"
    verdict = (
        f"the interval excludes zero: supervising both phases {direction} in this run"
        if found.excludes_zero
        else "the interval includes zero: no difference is shown"
    )
    return (
        f"In R@10, {TREATED} minus {found.baseline} is {points_text(found.difference)} percentage points "
        f"(95% interval {percent_range_text(found.low, found.high)}, {p_text(found.p_value)}); {verdict}."
    )


def contrast_charts(contrasts: Sequence[Contrast]) -> tuple[DotChart, ...]:
    """Differences of the students against the baseline, in percentage points, around zero."""
    students = [c for c in contrasts if c.system in METHODS] or list(contrasts)
    pairs = [(m, k) for m, k in SHOWN if any((c.metric, c.k) == (m, k) for c in students)]
    return tuple(_contrast_chart([c for c in students if (c.metric, c.k) == pair], *pair) for pair in pairs)


def _contrast_chart(contrasts: Sequence[Contrast], metric: str, k: int) -> DotChart:
    marks = [
        Mark(c.system, 100 * c.difference, 100 * c.low, 100 * c.high, KINDS.get(c.system, OTHER).shape, p_text(c.p_value))
        for c in contrasts
    ]
    baselines = joined_names(sorted({c.baseline for c in contrasts}))
    slug = f"contrast-{metric.lower()}-{k}"
    return dot_chart(slug, f"{metric}@{k} minus that of {baselines}", "percentage points", marks, has_zero=True)


def contrast_grid(contrasts: Sequence[Contrast]) -> Grid:
    """All systems' differences with interval and p-value; a star marks an interval that excludes zero."""
    pairs = list(dict.fromkeys((c.system, c.baseline) for c in contrasts))
    at = {(c.system, c.baseline, c.metric, c.k): c for c in contrasts}
    rows = tuple(
        (Cell(system, f"minus {baseline}"), *(_contrast_cell(at.get((system, baseline, *shown))) for shown in SHOWN))
        for system, baseline in pairs
    )
    caption = "Paired differences in percentage points, with 95% intervals and p-values; * marks an interval without zero"
    return Grid("contrasts", caption, ("system", *(f"{m}@{k}" for m, k in SHOWN)), rows)


def _contrast_cell(contrast: Contrast | None) -> Cell:
    if contrast is None:
        return Cell(NO_VALUE)
    star = " *" if contrast.excludes_zero else ""
    detail = f"{percent_range_text(contrast.low, contrast.high)}, {p_text(contrast.p_value)}"
    return Cell(points_text(contrast.difference) + star, detail, contrast.excludes_zero)
