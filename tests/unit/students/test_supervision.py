from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from schemas.errors import TrainingError
from schemas.selections import of_whole_traces
from tasks.students.anchors import read_anchors
from tasks.students.matrices import empty_matrix
from tasks.students.supervision import (
    DECAY,
    NEAR_GRADE,
    Pairs,
    Supervision,
    gold_supervision,
    grade_candidates,
    read_supervision,
    refuse_too_little,
    without_phases,
)

PAIRS = Pairs(("a", "b", "c"), np.array([10, 11, 12, 13], np.int32))
ANSWERS = [("a", 1, 11), ("b", 1, None), ("b", 2, 12)]
SHORTLIST = [("a", 1, 10), ("a", 2, 11), ("a", 3, None), ("a", 4, 13), ("c", 1, 10)]
STEPS = [
    ("a", "none", 10, None),
    ("a", "keep", 11, None),
    ("a", "drop", 11, 10),
    ("a", "drop", None, 13),
    ("b", "keep", 12, None),
    ("b", "keep", 10, None),
    ("b", "drop", 12, 10),
    ("b", "compare", 12, 11),
]


def ranked(rows: Sequence[tuple[str, int, int | None]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={"document_id": pl.String, "rank": pl.Int32, "label_id": pl.Int32}, orient="row")
    return frame.with_columns(trace_id="t" + pl.col("document_id"))


def verdicts() -> pl.DataFrame:
    columns = {"document_id": pl.String, "verdict": pl.String, "target_label_id": pl.Int32, "near_miss_label_id": pl.Int32}
    return pl.DataFrame(STEPS, schema=columns, orient="row")


def read(barred: list[tuple[str, int]] | None = None) -> Supervision:
    left_out = pl.DataFrame(barred or [], schema={"document_id": pl.String, "label_id": pl.Int32}, orient="row")
    return read_supervision(PAIRS, PAIRS.matrix(left_out), ranked(ANSWERS), ranked(SHORTLIST), verdicts())


def test_matrix_leaves_unknown_pairs_out_and_keeps_the_larger_value() -> None:
    frame = pl.DataFrame({"document_id": ["a", "a", "z"], "label_id": [11, 11, 10], "v": [0.2, 0.7, 1.0]})
    matrix = PAIRS.matrix(frame.cast({"label_id": pl.Int32}), "v").toarray()
    assert matrix[0, 1] == pytest.approx(0.7)
    assert np.count_nonzero(matrix) == 1


def test_grade_candidates_fall_with_rank_and_skip_answers_and_unlinked() -> None:
    grades = grade_candidates(ranked(ANSWERS), ranked(SHORTLIST)).filter(pl.col("document_id") == "a")
    assert dict(zip(grades["label_id"], grades["grade"], strict=True)) == pytest.approx({10: NEAR_GRADE, 13: NEAR_GRADE * DECAY})


def test_read_supervision_puts_answers_on_top_of_the_graded_shortlist() -> None:
    supervision = read()
    np.testing.assert_allclose(supervision.answers.toarray(), [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(supervision.grades.toarray()[0], [NEAR_GRADE, 1, 0, NEAR_GRADE * DECAY], rtol=1e-6)


def test_of_whole_traces_leaves_out_single_phases_and_further_samples() -> None:
    columns = ("trace_id", "variant", "sample_index")
    rows = [("ta", "both", 0), ("tb", "both", 1), ("tc", "phase-1", 0), ("td", "phase-2-teacher", 0)]
    traces = pl.DataFrame(rows, schema=columns, orient="row")
    assert of_whole_traces(ranked(SHORTLIST), traces).equals(ranked(SHORTLIST[:4]))
    assert of_whole_traces(ranked(ANSWERS), traces.clear()).is_empty()


def test_read_supervision_of_a_document_without_an_answer_is_empty() -> None:
    assert read().grades.toarray()[2].sum() == 0


def test_read_supervision_takes_no_label_that_is_both_kept_and_dropped() -> None:
    supervision = read()
    np.testing.assert_array_equal(supervision.kept.toarray(), [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(supervision.dropped.toarray(), [[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert supervision.has_verdicts.tolist() == [True, False, False]


def test_read_supervision_never_teaches_pairs_to_leave_out() -> None:
    supervision = read(barred=[("a", 10), ("a", 11)])
    for matrix in (supervision.answers, supervision.grades, supervision.kept, supervision.dropped):
        assert matrix.toarray()[0, :2].sum() == 0


def test_without_phases_hides_grades_and_verdicts() -> None:
    seen = without_phases(read(), has_p1=False, has_p2=False)
    np.testing.assert_array_equal(seen.grades.toarray(), seen.answers.toarray())
    assert seen.kept.nnz == seen.dropped.nnz == 0


def test_listed_are_candidates_that_are_no_answers() -> None:
    np.testing.assert_allclose(read().listed.toarray()[0], [1, 0, 0, DECAY], rtol=1e-6)
    assert without_phases(read(), has_p1=False, has_p2=True).listed.nnz == 0


def test_without_phases_hides_anchors_of_phase_1() -> None:
    told = replace(read(), anchors=read_anchors(PAIRS.document_ids, ["red sea", "sea", "salt"], {}, steps_citing()))
    assert without_phases(told, has_p1=True, has_p2=False).anchors is told.anchors
    assert without_phases(told, has_p1=False, has_p2=True).anchors is None
    taken = told.take(np.array([1])).anchors
    assert taken is not None
    assert taken.held.shape[0] == 1


def steps_citing() -> pl.DataFrame:
    return verdicts().with_columns(step_text=pl.lit('it fits: "sea"'))


def test_gold_supervision_takes_known_targets_only() -> None:
    relevance = pl.DataFrame(
        {
            "document_id": ["a", "a", "b"],
            "label_id": [10, 11, 12],
            "relevance": [1.0, 0.0, 1.0],
            "is_filtered": [False, False, True],
        }
    ).cast({"label_id": pl.Int32})
    answers = gold_supervision(PAIRS, empty_matrix(PAIRS.shape), relevance).answers
    np.testing.assert_array_equal(answers.toarray(), [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_refuse_too_little_counts_documents() -> None:
    with pytest.raises(TrainingError, match=r"2 of 3 training documents have an answer .* 20 are needed"):
        refuse_too_little(read(), 3, has_p1=False, has_p2=False)


def test_refuse_too_little_names_missing_verdicts_only_where_they_are_asked_for() -> None:
    pairs = Pairs(tuple(f"d{i}" for i in range(25)), PAIRS.label_ids)
    rows = [(d, 1, 11) for d in pairs.document_ids]
    other = [(d, 2, 10) for d in pairs.document_ids]
    none = verdicts().clear()
    supervision = read_supervision(pairs, empty_matrix(pairs.shape), ranked(rows), ranked(other), none)
    refuse_too_little(supervision, 25, has_p1=True, has_p2=False)
    with pytest.raises(TrainingError, match="0 of 25 training documents have both a kept and a dropped label"):
        refuse_too_little(supervision, 25, has_p1=True, has_p2=True)
