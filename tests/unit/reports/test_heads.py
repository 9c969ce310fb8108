import polars as pl
import pytest

from tasks.reports.heads import (
    COARSE,
    REFINE,
    decimals_for,
    order_sentence,
    profile_chart,
    ranked,
    reliability_sentence,
    score_map,
    top_count,
    top_grid,
    unit_of,
)
from tests.unit.reports.report_frames import HEAD_PROFILES, HEAD_SCORES, profile, table


@pytest.mark.parametrize(
    ("values", "digits"), [([6.8, 0.1], 2), ([118.0], 0), ([0.02], 4), ([], 2), ([0.0, None], 2), ([1e-30], 9)]
)
def test_decimals_for_shows_three_digits_of_the_largest(values: list[float | None], digits: int) -> None:
    assert decimals_for(values) == digits


@pytest.mark.parametrize(
    ("values", "suffix"),
    [([0.01, 3.0], ""), ([0.004], " ×10⁻³"), ([-2e-6], " ×10⁻⁶"), ([1e-20], " ×10⁻⁹"), ([0.0], ""), ([None], "")],
)
def test_unit_of_spares_small_values_their_zeros(values: list[float | None], suffix: str) -> None:
    assert unit_of(values).suffix == suffix


def test_ranked_puts_the_highest_first_and_heads_without_a_score_last() -> None:
    order = ranked(HEAD_SCORES, REFINE).select(pl.format("L{}H{}", "layer", "head"), "rank").rows()
    assert order == [("L1H2", 1), ("L1H0", 2), ("L0H0", 3), ("L1H1", 4), ("L0H1", 5), ("L0H2", 6)]
    spoilt = HEAD_SCORES.with_columns(refine_score=pl.lit(float("nan")))
    assert ranked(spoilt, REFINE)["refine_score"].null_count() == 6


def test_score_map_shades_every_head_and_outlines_the_highest() -> None:
    chart = score_map(HEAD_SCORES, REFINE, "map")
    cells = [cell for row in chart.rows for cell in row.cells]
    assert [cell.shade for cell in cells] == ["z", "n4", "none", "p2", "z", "p4"]
    assert [cell.is_top for cell in cells] == [True, False, False, True, False, True]
    assert cells[5].title == "L1H2: 0.0160"


def test_score_map_outlines_no_more_than_ten() -> None:
    many = pl.concat([HEAD_SCORES.with_columns(pl.col("layer") + 2 * n) for n in range(20)])
    chart = score_map(many, COARSE, "map")
    assert sum(cell.is_top for row in chart.rows for cell in row.cells) == len(chart.data.rows) == 10


def test_score_map_writes_small_scores_in_powers_of_ten() -> None:
    small = HEAD_SCORES.with_columns(pl.col("^refine_.*$") / 100)
    chart = score_map(small, REFINE, "map")
    assert chart.title == "RefineScore of every head ×10⁻³"
    assert chart.rows[1].cells[2].title == "L1H2: 0.160"
    assert chart.data.columns[1] == "RefineScore ×10⁻³"
    assert (chart.data.rows[0][1].text, chart.data.rows[0][1].detail) == ("0.160", "0.150 to 0.170")


def test_top_grid_gives_intervals_factors_and_the_place_by_the_other_score() -> None:
    grid = top_grid(HEAD_SCORES, COARSE, "map")
    assert grid.columns == ("head", "CoarseScore", "excess kurtosis", "anchor alignment", "place by RefineScore")
    assert [cell.text for cell in grid.rows[0]] == ["L0H0", "8.00", "4.00", "0.500", "3"]
    assert grid.rows[0][1].detail == "7.50 to 8.50"
    assert [row[0].text for row in grid.rows] == ["L0H0", "L1H2", "L0H1"]


def test_top_grid_leaves_out_heads_without_a_score() -> None:
    known = HEAD_SCORES.filter(pl.col("layer") == 0)
    assert [row[0].text for row in top_grid(known, REFINE, "map").rows] == ["L0H0", "L0H1"]


@pytest.mark.parametrize(("heads", "named"), [(1, 3), (12, 3), (24, 6), (48, 10), (5120, 10)])
def test_top_count_is_a_quarter_but_three_to_ten(heads: int, named: int) -> None:
    assert top_count(heads) == named


def test_profile_chart_has_a_tick_and_a_band_for_every_layer() -> None:
    chart = profile_chart(HEAD_PROFILES, COARSE, "profile")
    assert chart is not None
    (line,) = chart.lines
    assert [tick.text for tick in chart.x_ticks] == ["L0", "L1"]
    assert [x for x, _ in line.dots] == [tick.at for tick in chart.x_ticks]
    assert line.dots[0][1] < line.dots[1][1]  # 1.5 stands above 0.5
    assert line.band
    assert [cell.text for cell in chart.data.rows[0]] == ["0", "1.50"]


def test_profile_chart_of_one_layer_and_of_eighty() -> None:
    one = profile_chart(HEAD_PROFILES.filter(pl.col("layer") == 0), COARSE, "profile")
    assert one is not None and [tick.text for tick in one.x_ticks] == ["L0"]
    many = table("core_head_profiles", [profile("coarse_score", "layer_mean", layer, layer / 80) for layer in range(80)])
    chart = profile_chart(many, COARSE, "profile")
    assert chart is not None
    assert [tick.text for tick in chart.x_ticks] == [f"L{n}" for n in range(0, 80, 10)]
    assert len(chart.lines[0].dots) == 80


def test_profile_chart_of_a_score_that_was_not_measured_is_none() -> None:
    assert profile_chart(HEAD_PROFILES.filter(pl.col("score_name") == "refine_score"), COARSE, "profile") is None
    assert profile_chart(HEAD_PROFILES.clear(), COARSE, "profile") is None


def test_order_sentence_reads_the_interval() -> None:
    early = order_sentence(HEAD_PROFILES, COARSE)
    assert early == (
        "CoarseScore and layer: Spearman correlation −0.40 (95% interval −0.50 to −0.30); heads of early layers score higher."
    )
    assert "no order of layers is shown" in order_sentence(HEAD_PROFILES, REFINE)
    late = table("core_head_profiles", [profile("coarse_score", "layer_order", -1, 0.3)])
    assert "late layers" in order_sentence(late, COARSE)
    assert order_sentence(HEAD_PROFILES.clear(), COARSE) == ""


@pytest.mark.parametrize(
    ("value", "words"), [(0.8, "much alike"), (0.79, "partly alike"), (0.5, "partly alike"), (0.49, "hardly")]
)
def test_reliability_sentence_says_how_far_halves_agree(value: float, words: str) -> None:
    rows = table("core_head_profiles", [profile("coarse_score", "split_half", -1, value)])
    said = reliability_sentence(rows, COARSE)
    assert words in said and "halves of 40 documents" in said
    assert reliability_sentence(rows, REFINE) == ""
