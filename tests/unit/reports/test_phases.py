from dataclasses import replace

import polars as pl
import pytest

from tasks.reports.frames import Frames
from tasks.reports.phases import (
    contrast_charts,
    gain_chart,
    phase_section,
    relative_chart,
    relative_confusion,
    variant_charts,
    variant_grid,
    variant_values,
    verdict_grid,
)
from tests.unit.reports.report_frames import FACTS, FRAMES, PHASE_CONTRASTS, PHASE_METRICS, TRAJECTORIES, VERDICTS


def test_verdict_grid_says_in_words_how_each_claim_stands() -> None:
    rows = [[cell.text for cell in row][:2] for row in verdict_grid(VERDICTS).rows]
    assert rows == [
        ["Focus is higher while shortlisting", "holds"],
        ["Each phase works alone", "open"],
        ["Each phase adds to the other", "does not hold"],
    ]


def test_verdict_grid_takes_no_claim_about_anything_else() -> None:
    other = VERDICTS.with_columns(claim=pl.lit("patching_top"))
    assert verdict_grid(other).rows == ()


def test_variant_grid_shows_what_was_measured_and_says_what_was_not() -> None:
    rows = variant_grid(variant_values(PHASE_METRICS)).rows
    assert [row[0].text for row in rows] == ["both phases", "phase 1 alone", "phase 2, own list", "phase 2, other's list"]
    recall, _, _, _, f1 = rows[0][1:]
    assert (recall.text, recall.detail) == ("50.0", "48.0 to 52.0") == (f1.text, f1.detail)
    assert [cell.text for cell in rows[2][1:]] == ["no value", "no value", "45.0", "no value", "45.0"]


def test_variant_charts_show_recall_of_lists_and_f1_of_answers() -> None:
    lists, answers = variant_charts(variant_values(PHASE_METRICS))
    assert [row.label for row in lists.rows] == ["both phases", "phase 1 alone"]
    assert [row.text for row in answers.rows] == ["50.0", "25.0", "45.0", "12.5"]


def test_contrast_charts_show_f1_against_both_and_against_less_than_its_own_list() -> None:
    both, own = contrast_charts(PHASE_CONTRASTS)
    assert [(row.label, row.text) for row in both.rows] == [
        ("phase 1 alone", "\N{MINUS SIGN}25.0, p = 0.200"),
        ("phase 2, own list", "\N{MINUS SIGN}5.0, p = 0.200"),
    ]
    assert [(row.label, row.text) for row in own.rows] == [("phase 2, other's list", "+32.5, p = 0.200")]
    assert both.zero_x is not None
    assert contrast_charts(PHASE_CONTRASTS.clear()) == []


def test_relative_confusion_is_paired_by_document_and_position() -> None:
    rows = TRAJECTORIES.filter(pl.col("quantity").is_in(["confusion", "confusion_floor"]))
    shifted = rows.with_columns(
        value=pl.when((pl.col("quantity") == "confusion_floor") & (pl.col("document_id") == "d1"))
        .then(pl.col("value") + 0.5)
        .otherwise("value")
    )
    found = relative_confusion(shifted).sort("document_id", "position")
    assert found["document_id"].to_list() == ["d0", "d0", "d1", "d1"]
    assert found["value"].to_list() == pytest.approx([0.0, 0.0, -0.5, -0.5])
    assert relative_confusion(TRAJECTORIES.filter(pl.col("quantity") == "confusion")).is_empty()


def test_gain_and_relative_charts_are_left_out_where_nothing_was_measured() -> None:
    assert [chart.slug for chart in gain_chart(TRAJECTORIES) + relative_chart(TRAJECTORIES)] == [
        "refinement-gain", "relative-confusion",
    ]  # fmt: skip
    focus = TRAJECTORIES.filter(pl.col("quantity") == "focus")
    assert gain_chart(focus) + relative_chart(focus) == []


def test_phase_section_without_verdicts_says_how_to_get_them() -> None:
    assert phase_section(FACTS, Frames()).notes == (
        "Left out: there is no out_verdicts yet. The command “ctd characterize toy” produces it.",
    )


def test_phase_section_of_one_variant_draws_no_chart_of_variants() -> None:
    both = PHASE_METRICS.filter(pl.col("system") == "teacher/both")
    found = phase_section(FACTS, replace(FRAMES, phase_metrics=both, phase_contrasts=PHASE_CONTRASTS.clear()))
    assert [chart.slug for chart in found.charts] == ["refinement-gain", "relative-confusion"]
    assert [grid.slug for grid in (*found.lead_grids, *found.grids)] == ["verdicts", "variants"]


def test_phase_section_has_verdicts_first() -> None:
    found = phase_section(FACTS, FRAMES)
    assert [grid.slug for grid in found.lead_grids] == ["verdicts"]
    assert [chart.slug for chart in found.charts] == [
        "variants-shortlist-recall", "variants-answer-f1", "phases-against-both", "phases-own-list", "refinement-gain",
        "relative-confusion",
    ]  # fmt: skip
