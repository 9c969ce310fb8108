"""Curves: the teacher's phases along the trace, from `core_trajectories`, and the students' losses, from `core_train_steps`."""

import polars as pl

from tasks.reports.charts import LineChart, Point, Series, line_chart

Z95 = 1.959964
MAX_POSITIONS = 21
"""More places than this on the axis are gathered into `POSITION_BINS` bins."""
POSITION_BINS = 10
LOSS_BINS = 30
X_LABEL = "relative position in the trace"
PANELS = (
    ("focus", "Focus: cosine of step and document", ("focus",)),
    ("confusion", "Confusion: cosine of step and near misses", ("confusion", "confusion_floor")),
    ("shortlist-recall", "Known targets named so far", ("shortlist_recall",)),
    ("inflation", "Inflation", ("inflation",)),
)


def mean_by_position(trajectories: pl.DataFrame) -> pl.DataFrame:
    """Mean over documents at each position, with a normal 95% band; each document counts once a position.

    Returns:
        Rows (system, quantity, x, mean, low, high, document_count); low and high are null for a single document.

    Source: mean plus and minus 1.96 standard errors; `shortlist_recall` is cut to 0..1.
    """
    known = trajectories.filter(pl.col("value").is_finite())
    x = pl.col("position").cast(pl.Float64).round(3)
    if known.select(x.n_unique()).item() > MAX_POSITIONS:
        x = ((pl.col("position").cast(pl.Float64) * POSITION_BINS).floor().clip(0, POSITION_BINS - 1) + 0.5) / POSITION_BINS
    by_document = known.group_by("system", "quantity", "document_id", x.alias("x")).agg(pl.col("value").mean())
    grouped = by_document.group_by("system", "quantity", "x").agg(
        pl.col("value").mean().alias("mean"),
        (Z95 * pl.col("value").std() / pl.len().sqrt()).alias("half"),
        pl.len().alias("document_count"),
    )
    low, high = pl.col("mean") - pl.col("half"), pl.col("mean") + pl.col("half")
    is_share = pl.col("quantity") == "shortlist_recall"
    return grouped.select(
        "system",
        "quantity",
        "x",
        "mean",
        pl.when(is_share).then(low.clip(0, 1)).otherwise(low).alias("low"),
        pl.when(is_share).then(high.clip(0, 1)).otherwise(high).alias("high"),
        "document_count",
    ).sort("system", "quantity", "x")


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
        Series(f"{system}, floor" if is_floor else str(system), _points(part), is_floor)
        for (system,), part in rows.group_by("system", maintain_order=True)
    ]


def _points(rows: pl.DataFrame) -> tuple[Point, ...]:
    return tuple(Point(*row) for row in rows.select("x", "mean", "low", "high", "document_count").iter_rows())


def loss_charts(train_steps: pl.DataFrame) -> tuple[LineChart, ...]:
    """The total loss of each part of the student over training, mean over seeds, one curve a system."""
    total = train_steps.filter((pl.col("loss_name") == "total_loss") & pl.col("loss_nats").is_finite())
    return tuple(
        _loss_chart(str(name), part) for (name,), part in total.sort("component").group_by("component", maintain_order=True)
    )


def _loss_chart(component: str, rows: pl.DataFrame) -> LineChart:
    width = max(1, int(rows.select(pl.col("train_step").max()).item()) // LOSS_BINS)
    binned = rows.group_by("system", (pl.col("train_step") // width * width).cast(pl.Float64).alias("x"))
    means = binned.agg(pl.col("loss_nats").mean().alias("mean")).sort("system", "x")
    series = [
        Series(str(system), tuple(Point(x, y) for x, y in part.select("x", "mean").iter_rows()))
        for (system,), part in means.group_by("system", maintain_order=True)
    ]
    return line_chart(f"loss-{component}", f"Loss of the {component}, nats per document", "optimiser step", series)
