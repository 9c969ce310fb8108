import polars as pl
import pytest

from tasks.reports.curves import loss_charts, mean_by_position, trajectory_charts
from tests.unit.reports.report_frames import TRAIN_STEPS, TRAJECTORIES


def test_mean_by_position_is_the_mean_with_its_standard_error() -> None:
    row = mean_by_position(TRAJECTORIES).filter((pl.col("quantity") == "focus") & (pl.col("x") == 0)).row(0, named=True)
    assert row["mean"] == pytest.approx(0.5)
    # values 0.4 and 0.6: standard deviation 0.1414, standard error 0.1
    assert (row["low"], row["high"]) == (pytest.approx(0.5 - 0.196, abs=1e-4), pytest.approx(0.5 + 0.196, abs=1e-4))
    assert row["document_count"] == 2


def test_mean_by_position_cuts_recall_to_its_bounds_and_nothing_else() -> None:
    last = mean_by_position(TRAJECTORIES).filter(pl.col("x") == 1)
    highs = dict(last.select("quantity", "high").iter_rows())
    assert highs["shortlist_recall"] == 1.0
    assert highs["inflation"] > 1.0


def test_mean_by_position_gives_no_band_to_a_single_document() -> None:
    one = mean_by_position(TRAJECTORIES.filter(pl.col("document_id") == "d0"))
    assert one["low"].null_count() == one.height


def test_mean_by_position_ignores_what_is_not_finite() -> None:
    broken = TRAJECTORIES.with_columns(
        value=pl.when(pl.col("document_id") == "d1").then(pl.lit(float("nan"))).otherwise(pl.col("value"))
    )
    assert mean_by_position(broken)["document_count"].unique().to_list() == [1]


def test_trajectory_charts_put_the_floor_beside_confusion() -> None:
    charts = {chart.slug: chart for chart in trajectory_charts(TRAJECTORIES)}
    assert list(charts) == [f"trajectory-{name}" for name in ("focus", "confusion", "shortlist-recall", "inflation")]
    assert [(line.label, line.is_reference) for line in charts["trajectory-confusion"].lines] == [
        ("teacher", False),
        ("teacher, floor: targets alone", True),
    ]


def test_trajectory_charts_leave_out_what_was_not_measured() -> None:
    assert [c.slug for c in trajectory_charts(TRAJECTORIES.filter(pl.col("quantity") == "focus"))] == ["trajectory-focus"]
    assert trajectory_charts(TRAJECTORIES.clear()) == ()


def test_loss_charts_show_the_total_only() -> None:
    charts = loss_charts(TRAIN_STEPS)
    assert [chart.slug for chart in charts] == ["loss-refiner"]
    assert [row[1].text for row in charts[0].data.rows] == ["2.000", "1.900", "1.800"]
