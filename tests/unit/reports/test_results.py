import polars as pl

from tasks.reports.results import (
    best_sentence,
    collect_scores,
    index_grid,
    joined_names,
    leaderboard_grid,
    score_charts,
    segment_grid,
    square_grid,
)
from tests.unit.reports.report_frames import INDEX_METRICS, METRICS, metric, table


def test_collect_scores_orders_systems_by_the_story_and_leaves_the_index_out() -> None:
    rows = [metric(s, "P", 1, 0.2) for s in ("zebra", "mechanistic", "teacher", "lexical", "answers")]
    scores = collect_scores(pl.concat([table("out_metrics", rows), INDEX_METRICS]))
    assert scores.systems == ("lexical", "teacher", "answers", "mechanistic", "zebra")


def test_collect_scores_takes_test_and_else_the_split_there_is() -> None:
    both = [metric("answers", "P", 1, 0.9, split="train"), metric("answers", "P", 1, 0.4)]
    found = collect_scores(table("out_metrics", both)).get("answers", "P", 1)
    assert found is not None and found.value == 0.4
    assert collect_scores(table("out_metrics", both[:1])).split == "train"


def test_best_sentence_names_the_systems_whose_intervals_overlap() -> None:
    text = best_sentence(collect_scores(METRICS))
    assert "mechanistic has the highest R@10: 46.0% (95% interval 44.0 to 48.0)" in text
    assert "the interval of answers overlaps with it" in text
    assert "lexical" not in text


def test_best_sentence_says_when_nothing_overlaps_and_is_silent_without_numbers() -> None:
    apart = table("out_metrics", [metric("answers", "R", 10, 0.2), metric("mechanistic", "R", 10, 0.4)])
    assert "no other system's interval overlaps" in best_sentence(collect_scores(apart))
    assert best_sentence(collect_scores(table("out_metrics", []))) == ""


def test_leaderboard_grid_marks_the_best_and_names_what_is_missing() -> None:
    grid = leaderboard_grid(collect_scores(METRICS))
    best = {row[0].text: [cell.is_best for cell in row[1:]] for row in grid.rows}
    assert best["mechanistic"][:5] == [True] * 5
    assert not any(best["lexical"])
    assert grid.rows[0][6].text == "no value"
    assert (grid.rows[1][1].text, grid.rows[1][1].detail) == ("40.0", "38.0 to 42.0")


def test_leaderboard_grid_says_over_how_many_documents_and_seeds() -> None:
    rows = [metric("answers", "P", 1, 0.4, seed_count=3), metric("lexical", "P", 1, 0.2)]
    details = [row[0].detail for row in leaderboard_grid(collect_scores(table("out_metrics", rows))).rows]
    assert details == ["untrained, 40 documents", "student, 40 documents, 3 seeds"]


def test_score_charts_show_every_system_in_percent() -> None:
    chart = score_charts(collect_scores(METRICS))[1]
    assert chart.title == "R@10 by system"
    assert [(row.label, row.text) for row in chart.rows] == [("lexical", "25.0"), ("answers", "45.0"), ("mechanistic", "46.0")]


def test_square_grid_needs_all_four_students() -> None:
    students = ("answers", "mechanistic-no-p2", "mechanistic-no-p1", "mechanistic")
    rows = [metric(s, "R", 10, 0.1 * (i + 1)) for i, s in enumerate(students)]
    grid = square_grid(collect_scores(table("out_metrics", rows)))
    assert grid is not None
    assert [[cell.text for cell in row[1:]] for row in grid.rows] == [["10.0", "30.0"], ["20.0", "40.0"]]
    assert square_grid(collect_scores(table("out_metrics", rows[:3]))) is None


def test_segment_grid_shows_measured_segments_with_their_documents() -> None:
    grid = segment_grid(collect_scores(METRICS))
    assert grid is not None
    assert grid.columns == ("system", "all (n = 40)", "tail (n = 31)")
    assert [row[2].text for row in grid.rows] == ["no value", "20.0", "no value"]
    assert segment_grid(collect_scores(METRICS.filter(pl.col("segment") == "all"))) is None


def test_index_grid_shows_the_floor_beside_the_measured_recall() -> None:
    grid = index_grid(INDEX_METRICS, {10: 0.98})
    assert grid is not None
    assert [cell.text for cell in grid.rows[0]] == ["recall@10", "97.0", "98.0", "40"]
    assert index_grid(METRICS, {10: 0.98}) is None


def test_joined_names_reads_as_a_sentence() -> None:
    assert [joined_names(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
