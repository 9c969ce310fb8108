import pytest

from tasks.reports.contrasts import collect_contrasts, contrast_charts, contrast_grid, contrast_sentence
from tests.unit.reports.report_frames import CONTRASTS, contrast, table


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.004, 0.02, "includes zero: no difference is shown"),
        (0.0, 0.02, "includes zero: no difference is shown"),
        (0.001, 0.02, "excludes zero: supervising both phases helps in this run"),
    ],
)
def test_contrast_sentence_claims_only_what_the_interval_shows(low: float, high: float, words: str) -> None:
    text = contrast_sentence(collect_contrasts(table("out_contrasts", [contrast("mechanistic", 0.01, low, high)]), "answers"))
    assert words in text
    assert "mechanistic minus answers is +1.0 percentage points" in text


def test_contrast_sentence_says_when_it_hurts() -> None:
    rows = table("out_contrasts", [contrast("mechanistic", -0.02, -0.03, -0.01)])
    assert "hurts in this run" in contrast_sentence(collect_contrasts(rows, "answers"))


def test_contrast_sentence_hides_no_other_metric_that_excludes_zero() -> None:
    rows = [
        contrast("mechanistic", 0.0, -0.01, 0.01),
        contrast("mechanistic", -0.005, -0.009, -0.001, metric="P", k=5),
        contrast("mechanistic", 0.004, -0.01, 0.02, metric="P", k=1),
    ]
    text = contrast_sentence(collect_contrasts(table("out_contrasts", rows), "answers"))
    assert text.endswith("no difference is shown; in P@5 (−0.5) the interval excludes zero.")


def test_contrast_sentence_is_empty_without_the_headline_contrast() -> None:
    rows = [contrast("lexical", 0.1, 0.0, 0.2), contrast("mechanistic", 0.1, 0.0, 0.2, metric="P", k=1)]
    assert contrast_sentence(collect_contrasts(table("out_contrasts", rows), "answers")) == ""


def test_collect_contrasts_leaves_out_segments_and_a_system_against_itself() -> None:
    rows = [contrast("answers", 0, 0, 0), contrast("mechanistic", 0, 0, 0, segment="tail"), contrast("lexical", 0, 0, 0)]
    assert [c.system for c in collect_contrasts(table("out_contrasts", rows), "answers")] == ["lexical"]


def test_contrast_charts_show_students_around_zero_with_p_values() -> None:
    charts = contrast_charts(collect_contrasts(CONTRASTS, "answers"))
    assert [chart.title for chart in charts] == ["R@10, minus that of answers"]
    assert [(row.label, row.text) for row in charts[0].rows] == [("mechanistic", "+1.0, p = 0.200")]
    assert charts[0].zero_x is not None


def test_contrast_charts_show_what_there_is_without_students() -> None:
    charts = contrast_charts(collect_contrasts(table("out_contrasts", [contrast("lexical", -0.2, -0.3, -0.1)]), "answers"))
    assert [row.label for row in charts[0].rows] == ["lexical"]


def test_contrast_grid_stars_only_intervals_without_zero() -> None:
    cells = {row[0].text: row[3].text for row in contrast_grid(collect_contrasts(CONTRASTS, "answers")).rows}
    assert cells == {"lexical": "−20.0 *", "mechanistic": "+1.0"}


def test_contrasts_against_other_baselines_have_their_own_chart_and_come_last() -> None:
    rows = [
        contrast("mechanistic", 0.03, 0.02, 0.04, baseline="a-student"),
        contrast("mechanistic", 0.01, -0.01, 0.02, baseline="mechanistic-no-p1"),
        contrast("mechanistic", 0.0, -0.01, 0.01),
        contrast("mechanistic-no-p2", 0.0, -0.01, 0.01),
    ]
    found = collect_contrasts(table("out_contrasts", rows), "answers")
    assert [c.baseline for c in found] == ["answers", "answers", "mechanistic-no-p1", "a-student"]
    assert "mechanistic minus answers" in contrast_sentence(found)
    charts = [[row.label for row in chart.rows] for chart in contrast_charts(found)]
    assert charts == [["mechanistic-no-p2", "mechanistic"], ["mechanistic-no-p1", "a-student"]]
    assert [row[0].detail for row in contrast_grid(found).rows] == [
        "minus answers", "minus answers", "minus mechanistic-no-p1", "minus a-student",
    ]  # fmt: skip
