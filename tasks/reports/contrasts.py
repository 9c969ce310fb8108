"""Paired differences against the baseline, from `out_contrasts`: one sentence, the charts and the table."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from schemas.student_settings import METHODS
from tasks.reports.cells import NO_VALUE, Cell, Grid, p_text, percent_range_text, points_text
from tasks.reports.charts import DotChart, Mark, dot_chart
from tasks.reports.results import HEADLINE, KINDS, OTHER, joined_names, story_place

SHOWN = (("P", 1), ("P", 5), ("R", 10))
TREATED = "mechanistic"
UNIT = "percentage points"
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


def collect_contrasts(frame: pl.DataFrame, baseline: str) -> tuple[Contrast, ...]:
    """Contrasts over all labels, those against `baseline` first, then in the order of the story; none against itself."""
    rows = frame.filter((pl.col("segment") == "all") & (pl.col("system") != pl.col("baseline"))).select(_COLUMNS)
    found = [Contrast(*row) for row in rows.iter_rows()]
    return tuple(sorted(found, key=lambda c: (c.baseline != baseline, story_place(c.baseline), story_place(c.system))))


def contrast_sentence(contrasts: Sequence[Contrast]) -> str:
    """How far `mechanistic` is from the first baseline in R@10, and whether zero is excluded; empty if not measured.

    Other metrics in which zero is excluded are named too, so that the headline hides none.
    """
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
        f"(95% interval {percent_range_text(found.low, found.high)}, {p_text(found.p_value)}); "
        f"{verdict}{_elsewhere(found, contrasts)}."
    )


def _elsewhere(found: Contrast, contrasts: Sequence[Contrast]) -> str:
    same = [c for c in contrasts if (c.system, c.baseline) == (found.system, found.baseline) and (c.metric, c.k) in SHOWN]
    others = [f"{c.metric}@{c.k} ({points_text(c.difference)})" for c in same if c.excludes_zero and c != found]
    return f"; in {joined_names(others)} the interval excludes zero" if others else ""


def contrast_charts(contrasts: Sequence[Contrast]) -> tuple[DotChart, ...]:
    """Differences of the students against the first baseline, then of `mechanistic` against each student it extends."""
    first = [c for c in contrasts if c.baseline == contrasts[0].baseline]
    students = [c for c in first if c.system in METHODS] or first
    charts = [_baseline_chart([c for c in students if (c.metric, c.k) == shown], *shown) for shown in SHOWN]
    others = [c for c in contrasts if c not in first and c.system == TREATED and (c.metric, c.k) == HEADLINE]
    return tuple(chart for chart in (*charts, _ablation_chart(others)) if chart.rows)


def _baseline_chart(contrasts: Sequence[Contrast], metric: str, k: int) -> DotChart:
    marks = [_mark(c.system, c) for c in contrasts]
    baseline = contrasts[0].baseline if contrasts else "the baseline"
    slug = f"contrast-{metric.lower()}-{k}"
    return dot_chart(slug, f"{metric}@{k}, minus that of {baseline}", UNIT, marks, has_zero=True)


def _ablation_chart(contrasts: Sequence[Contrast]) -> DotChart:
    marks = [_mark(c.baseline, c) for c in contrasts]
    title = f"{HEADLINE[0]}@{HEADLINE[1]} of {TREATED}, minus that of each student it extends"
    return dot_chart("contrast-ablated", title, UNIT, marks, has_zero=True)


def _mark(label: str, c: Contrast) -> Mark:
    shape = KINDS.get(c.system, OTHER).shape
    return Mark(label, 100 * c.difference, 100 * c.low, 100 * c.high, shape, p_text(c.p_value))


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
