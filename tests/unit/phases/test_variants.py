from collections.abc import Mapping

import polars as pl
import pytest

from schemas.tables import CORE_ANSWERS, CORE_RELEVANCE, CORE_SHORTLIST, CORE_TRACES, Table
from tasks.phases.variants import (
    TraceLists,
    VariantScores,
    asked_variants,
    contrast_rows,
    mean_differences,
    metric_rows,
    score_variants,
)

Lists = Mapping[tuple[str, str], list[int | None]]
"""Labels by (document, variant)."""

EVERY = ("both", "phase-1", "phase-2-teacher")


def frame(table: Table, rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame([dict.fromkeys(table.columns) | row for row in rows], schema=table.schema)


def rows_of(lists: Lists) -> list[dict[str, object]]:
    return [
        {"trace_id": f"{document}-{variant}", "document_id": document, "rank": rank, "label_id": label}
        for (document, variant), labels in lists.items()
        for rank, label in enumerate(labels, 1)
    ]


def tables(shortlists: Lists, answers: Lists, targets: Mapping[str, list[int]], filtered: Mapping[str, list[int]]) -> TraceLists:
    """Traces of every (document, variant) that has a list."""
    named = {*shortlists, *answers}
    traces = [
        {"trace_id": f"{d}-{v}", "document_id": d, "variant": v, "sample_index": 0, "split": "test"} for d, v in sorted(named)
    ]
    pairs = [(d, label, False) for d, labels in targets.items() for label in labels]
    pairs += [(d, label, True) for d, labels in filtered.items() for label in labels]
    relevance = [{"document_id": d, "label_id": label, "is_filtered": is_filtered} for d, label, is_filtered in pairs]
    return TraceLists(
        frame(CORE_TRACES, traces),
        frame(CORE_SHORTLIST, rows_of(shortlists)),
        frame(CORE_ANSWERS, rows_of(answers)),
        frame(CORE_RELEVANCE, [{"relevance": 1.0} | row for row in relevance]),
    )


def scored(shortlists: Lists, answers: Lists, variants: tuple[str, ...], filtered: Mapping[str, list[int]]) -> VariantScores:
    return score_variants(tables(shortlists, answers, {"a": [1, 2], "b": [3]}, filtered), variants)


def plain(scores: VariantScores) -> dict[tuple[str, str], list[float]]:
    return {key: values.tolist() for key, values in scores.values.items()}


def test_score_variants_counts_hits_by_document() -> None:
    found = scored(
        {("a", "both"): [1, 5, 6, 2], ("b", "both"): [4]}, {("a", "both"): [1, 5, 6], ("b", "both"): []}, ("both",), {}
    )
    assert found.document_count == 2
    assert plain(found) == {
        ("both", "shortlist_recall"): [1.0, 0.0],
        ("both", "shortlist_precision"): [0.5, 0.0],
        ("both", "answer_precision"): [pytest.approx(1 / 3), 0.0],
        ("both", "answer_recall"): [0.5, 0.0],
        ("both", "answer_f1"): [pytest.approx(2 * (1 / 3 * 1 / 2) / (1 / 3 + 1 / 2)), 0.0],
    }


def test_score_variants_leaves_out_filtered_pairs_and_what_links_to_no_label() -> None:
    lists: Lists = {("a", "both"): [7, 1, None, 1], ("b", "both"): [3, 8]}
    found = plain(scored(lists, lists, ("both",), {"a": [7], "b": [9]}))
    assert found["both", "answer_precision"] == [1.0, 0.5]
    assert found["both", "shortlist_precision"] == [1.0, 0.5]


def test_score_variants_takes_phase_1s_first_labels_for_its_answer_as_many_as_phase_2_keeps() -> None:
    shortlists: Lists = {("a", "both"): [1], ("b", "both"): [3], ("a", "phase-1"): [7, 5, 1, 2], ("b", "phase-1"): [3, 4]}
    answers: Lists = {
        ("a", "both"): [1], ("b", "both"): [3], ("a", "phase-2-teacher"): [1, 2], ("b", "phase-2-teacher"): [],
    }  # fmt: skip
    found = plain(scored(shortlists, answers, EVERY, {"a": [7]}))
    assert found["phase-1", "shortlist_recall"] == [1.0, 1.0]
    assert found["phase-1", "shortlist_precision"] == [pytest.approx(2 / 3), 0.5]
    assert found["phase-1", "answer_precision"] == [0.5, 0.0]  # 5 and 1; of b none, as phase 2 kept none
    assert found["phase-2-teacher", "answer_recall"] == [1.0, 0.0]
    assert ("phase-2-teacher", "shortlist_recall") not in found


def test_score_variants_counts_as_both_phases_keep_where_phase_2_was_not_asked_alone() -> None:
    shortlists: Lists = {("a", "both"): [1], ("a", "phase-1"): [2, 1, 5]}
    found = plain(scored(shortlists, {("a", "both"): [1, 2]}, ("both", "phase-1"), {}))
    assert found["phase-1", "answer_recall"] == [1.0]
    alone = plain(scored({("a", "phase-1"): [2, 1, 5]}, {}, ("phase-1",), {}))
    assert set(alone) == {("phase-1", "shortlist_recall"), ("phase-1", "shortlist_precision")}


def test_score_variants_takes_documents_with_a_target_and_a_trace_in_every_variant() -> None:
    shortlists: Lists = {(d, v): [1] for d in ("a", "b", "no-target") for v in ("both", "phase-1") if (d, v) != ("b", "phase-1")}
    assert scored(shortlists, shortlists, ("both", "phase-1"), {}).document_count == 1
    assert scored(shortlists, shortlists, ("both",), {}).document_count == 2


def test_score_variants_logs_which_variant_loses_documents(caplog: pytest.LogCaptureFixture) -> None:
    lists: Lists = {("a", "both"): [1], ("b", "both"): [3], ("a", "phase-1"): [1]}
    with caplog.at_level("INFO", "tasks.phases.variants"):
        scored(lists, lists, ("both", "phase-1"), {})
    assert "1 have a usable trace of all of: both 2, phase-1 1" in caplog.text


def test_score_variants_takes_the_first_sample_and_test_documents_only() -> None:
    made = tables({("a", "both"): [1], ("b", "both"): [3]}, {}, {"a": [1], "b": [3]}, {})
    others = made.traces.with_columns(sample_index=pl.Series([0, 1], dtype=pl.Int32), split=pl.Series(["train", "test"]))
    moved = TraceLists(others, made.shortlist, made.answers, made.relevance)
    assert score_variants(moved, ("both",)).document_count == 0
    assert score_variants(moved, ("both",)).values == {}
    assert asked_variants(others) == ("both",)


def test_metric_and_contrast_rows_name_variants_and_pair_documents() -> None:
    lists: Lists = {(f"d{i}", v): [1 if v == "both" or i % 2 else 2] for i in range(30) for v in ("both", "phase-1")}
    made = tables(
        lists, {key: labels for key, labels in lists.items() if key[1] == "both"}, {f"d{i}": [1] for i in range(30)}, {}
    )
    scores = score_variants(made, ("both", "phase-1"))
    rows = {(r["system"], r["metric"]): r for r in metric_rows(scores, "teacher", 200, 0).iter_rows(named=True)}
    assert rows["teacher/both", "shortlist_recall"]["value"] == 1.0
    half = rows["teacher/phase-1", "shortlist_recall"]
    assert (half["value"], half["document_count"], half["k"], half["segment"]) == (0.5, 30, 0, "all")
    assert 0.25 < half["ci_low"] < 0.5 < half["ci_high"] < 0.75
    contrasts = contrast_rows(mean_differences(scores, 200, 0), "teacher")
    found = contrasts.filter(metric="shortlist_recall").row(0, named=True)
    assert (found["system"], found["baseline"], found["difference"]) == ("teacher/phase-1", "teacher/both", -0.5)
    assert found["p_value"] == pytest.approx(2 / 201)
    assert (found["ci_low"], found["ci_high"]) == (pytest.approx(half["ci_low"] - 1), pytest.approx(half["ci_high"] - 1))


def test_metric_and_contrast_rows_of_nothing_are_empty() -> None:
    nothing = VariantScores(0, {})
    assert metric_rows(nothing, "teacher", 100, 0).is_empty()
    assert contrast_rows(mean_differences(nothing, 100, 0), "teacher").is_empty()
