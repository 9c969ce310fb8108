"""Temporal dynamics of the refinement heads along the trace, and the decoder's phases in the text beside the teacher's."""

import polars as pl

from schemas.fields import HEAD_QUANTITIES
from tasks.reports.charts import LineChart, Point, Series, line_chart
from tasks.reports.curves import X_LABEL, mean_by_position
from tasks.reports.heads import decimals_for
from tasks.reports.results import story_place

ATTENTION = {"shortlist_attention_frac": "to a kept candidate", "near_miss_attention_frac": "to a dropped candidate"}
BESIDE = (
    ("focus", "Focus: decoder beside teacher"),
    ("confusion", "Confusion: decoder beside teacher"),
)


def dynamics_charts(trajectories: pl.DataFrame) -> tuple[LineChart, ...]:
    """Attention of the top refinement heads to both kinds of candidates, and what their writes do to the margin.

    Args:
        trajectories: `core_trajectories` of the stage heads.
    """
    means = mean_by_position(trajectories.filter(pl.col("quantity").is_in(HEAD_QUANTITIES)))
    attention = [s for quantity, label in ATTENTION.items() for s in _series(means, quantity, label)]
    helps = _series(means, "ov_helpfulness", "")
    charts = []
    if attention:
        title = "Attention of the top refinement heads"
        charts.append(_chart("dynamics-attention", title, attention))
    if helps:
        title = "OV-helpfulness of the top refinement heads, logits"
        charts.append(_chart("dynamics-ov", title, helps))
    return tuple(charts)


def _chart(slug: str, title: str, series: list[Series]) -> LineChart:
    digits = decimals_for(point.y for s in series for point in s.points)
    return line_chart(slug, title, X_LABEL, series, digits, x_range=(0.0, 1.0))


def _series(means: pl.DataFrame, quantity: str, label: str) -> list[Series]:
    rows = means.filter(pl.col("quantity") == quantity)
    systems = sorted(rows["system"].unique(), key=story_place)
    return [Series(_label(system, label, len(systems)), _points(rows, system)) for system in systems]


def _label(system: str, label: str, system_count: int) -> str:
    return label if label and system_count == 1 else f"{system}, {label}" if label else system


def _points(rows: pl.DataFrame, system: str) -> tuple[Point, ...]:
    own = rows.filter(pl.col("system") == system)
    return tuple(Point(*row) for row in own.select("x", "mean", "low", "high", "document_count").iter_rows())


def shared_documents(own: pl.DataFrame, teacher: pl.DataFrame | None) -> pl.DataFrame:
    """Focus and Confusion of the decoder, and of every system of `teacher` on the documents that the decoder was measured on.

    Args:
        own: `core_trajectories` of the stage heads.
        teacher: `core_trajectories` of the stage characterize, or None.
    """
    names = [name for name, _ in BESIDE]
    rows = own.filter(pl.col("quantity").is_in(names))
    if teacher is None:
        return rows
    others = teacher.filter(pl.col("quantity").is_in([*names, "confusion_floor"]))
    return pl.concat([rows, others.join(rows, on="document_id", how="semi")])


def beside_charts(both: pl.DataFrame) -> tuple[LineChart, ...]:
    """Focus and Confusion along the trace, one curve a system; the floor of Confusion is a dashed reference."""
    means = mean_by_position(both)
    charts = []
    for quantity, title in BESIDE:
        series = _series(means, quantity, "")
        if quantity == "confusion" and series:
            series += [Series("floor: targets alone", s.points, True) for s in _series(means, "confusion_floor", "")[:1]]
        if series:
            charts.append(line_chart(f"beside-{quantity}", title, X_LABEL, series, x_range=(0.0, 1.0)))
    return tuple(charts)
