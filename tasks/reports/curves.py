"""Curves: the teacher's phases along the trace, from `core_trajectories`, and the students' losses, from `core_train_steps`."""

import polars as pl

from schemas.fields import FIELDS
from tasks.reports.charts import LineChart, Point, Series, line_chart
from tasks.reports.results import story_place

Z95 = 1.959964
LOSS_BINS = 30
X_LABEL = "relative position in the trace"
PANELS = (
    ("focus", "Focus: cosine of step and document", ("focus",)),
    ("confusion", "Confusion: cosine of step and near misses", ("confusion", "confusion_floor")),
    ("shortlist-recall", "Shortlist recall: known targets named so far", ("shortlist_recall",)),
    ("inflation", "Inflation: labels named so far per label kept", ("inflation",)),
)


def mean_by_position(trajectories: pl.DataFrame) -> pl.DataFrame:
    """Mean over documents at each position, with a normal 95% band.

    Returns:
        Rows (system, quantity, x, mean, low, high, document_count); low and high are null for a single document.

    Source: mean plus and minus 1.96 standard errors; `shortlist_recall` is cut to 0..1.
    """
    value, is_share = pl.col("value"), pl.col("quantity") == "shortlist_recall"
    half = Z95 * value.std() / pl.len().sqrt()
    x = pl.col("position").cast(pl.Float64).round(4).alias("x")
    grouped = trajectories.filter(value.is_finite()).group_by("system", "quantity", x)
    means = grouped.agg(
        value.mean().alias("mean"),
        (value.mean() - half).alias("low"),
        (value.mean() + half).alias("high"),
        pl.len().alias("document_count"),
    )
    cut = [pl.when(is_share).then(pl.col(end).clip(0, 1)).otherwise(end).alias(end) for end in ("low", "high")]
    return means.with_columns(cut).sort("system", "quantity", "x")


def trajectory_charts(trajectories: pl.DataFrame) -> tuple[LineChart, ...]:
    """One chart a quantity that was measured, one curve a system; the floor of Confusion is a dashed reference."""
    means = mean_by_position(trajectories)
    charts = []
    for slug, title, quantities in PANELS:
        series = [s for quantity in quantities for s in _series(means, quantity)]
        if series:
            charts.append(line_chart(f"trajectory-{slug}", title, X_LABEL, series, x_range=(0.0, 1.0)))
    return tuple(charts)


def _series(means: pl.DataFrame, quantity: str) -> list[Series]:
    rows = means.filter(pl.col("quantity") == quantity)
    is_floor = quantity == "confusion_floor"
    return [
        Series(
            f"{system}, floor: targets alone" if is_floor else system, _points(rows.filter(pl.col("system") == system)), is_floor
        )
        for system in sorted(rows["system"].unique(), key=story_place)
    ]


def _points(rows: pl.DataFrame) -> tuple[Point, ...]:
    return tuple(Point(*row) for row in rows.select("x", "mean", "low", "high", "document_count").iter_rows())


def loss_charts(train_steps: pl.DataFrame) -> tuple[LineChart, ...]:
    """The total loss of each part of the student over training, mean over seeds, one curve a system."""
    total = train_steps.filter((pl.col("loss_name") == "total_loss") & pl.col("loss_nats").is_finite())
    parts = [(name, total.filter(pl.col("component") == name)) for name in FIELDS["component"].allowed]
    return tuple(_loss_chart(name, rows) for name, rows in parts if len(rows))


def _loss_chart(component: str, rows: pl.DataFrame) -> LineChart:
    width = max(1, int(rows.select(pl.col("train_step").max()).item()) // LOSS_BINS)
    binned = rows.group_by("system", (pl.col("train_step") // width * width).cast(pl.Float64).alias("x"))
    means = binned.agg(pl.col("loss_nats").mean().alias("mean")).sort("x")
    series = [
        Series(system, tuple(Point(x, y) for x, y in means.filter(pl.col("system") == system).select("x", "mean").iter_rows()))
        for system in sorted(means["system"].unique(), key=story_place)
    ]
    return line_chart(f"loss-{component}", f"Loss of the {component}, nats per document", "optimiser step", series)
