import pytest

from tasks.decoder_students.search.judging import JUDGED_COUNT, make_exam, recall_at


def test_recall_at_leaves_barred_labels_no_place() -> None:
    assert recall_at(2, [[1, 2, 3], [7, 8, 9]], [{2, 3}, {9, 5}], [{1}, ()]) == pytest.approx((1.0 + 0.0) / 2)
    assert recall_at(3, [[1, 2, 3], [7, 8, 9]], [{2, 3}, {9, 5}], [(), ()]) == pytest.approx((1.0 + 0.5) / 2)


def test_make_exam_takes_the_first_documents_that_have_an_answer_that_counts() -> None:
    prompts = {f"d{i}": [i] for i in range(JUDGED_COUNT + 5)}
    answers = {name: [1, 2] for name in prompts if name != "d1"}
    exam = make_exam(prompts, answers, {"d0": [1, 2], "d2": [2]}, 9)
    assert len(exam.prompts) == JUDGED_COUNT
    assert exam.prompts[:2] == ([2], [3])
    assert exam.wanted[:2] == (frozenset({1}), frozenset({1, 2}))
    assert exam.barred[0] == {2}
