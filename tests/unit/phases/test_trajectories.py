import numpy as np
import pytest

from schemas.errors import EmptyTargetError
from tasks.labels.near_misses import near_misses
from tasks.labels.search import LabelIndex
from tasks.phases.trajectories import (
    Judgement,
    ShortlistEntry,
    confusion,
    confusion_floor,
    focus,
    gain_rows,
    mean_by_bin,
    position_bins,
    readable_step,
    shortlist_rows,
)

E1, E2 = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
DIAGONAL = np.array([1, 1], np.float32) / np.sqrt(np.float32(2))


def test_focus_of_a_step_equal_to_its_document_is_one() -> None:
    assert focus(np.stack([E1, E2, DIAGONAL]), E1) == pytest.approx([1.0, 0.0, 0.70710678])


def test_confusion_is_the_mean_cosine_to_the_near_misses() -> None:
    assert confusion(np.stack([E1, DIAGONAL]), np.stack([E1, E2])) == pytest.approx([0.5, 0.70710678])


def test_confusion_without_near_misses_is_undefined() -> None:
    with pytest.raises(EmptyTargetError, match="near miss"):
        confusion(np.stack([E1]), np.zeros((0, 2), np.float32))


def test_confusion_floor_is_the_mean_cosine_of_targets_and_near_misses() -> None:
    assert confusion_floor(np.stack([E1, E2]), np.stack([DIAGONAL])) == pytest.approx(0.70710678)


def test_position_bins_puts_the_last_position_in_the_last_bin() -> None:
    assert position_bins(np.array([0.0, 0.09, 0.1, 0.99, 1.0], np.float32), 10).tolist() == [0, 0, 1, 9, 9]


def test_mean_by_bin_skips_empty_bins_and_counts_steps() -> None:
    rows = mean_by_bin("focus", np.array([1.0, 0.0, 0.5], np.float32), np.array([0, 0, 3]), 4)
    assert rows == [("focus", 0.125, 0.5, 2), ("focus", 0.875, 0.5, 1)]


def test_shortlist_rows_accumulate_recall_and_inflation() -> None:
    entries = [ShortlistEntry(7, 0), ShortlistEntry(None, 0), ShortlistEntry(8, 1)]
    rows = shortlist_rows(entries, {8, 9}, kept_count=2, bin_count=2)
    assert rows == [
        ("shortlist_recall", 0.25, 0.0, 2),
        ("inflation", 0.25, 1.0, 2),
        ("shortlist_recall", 0.75, 0.5, 3),
        ("inflation", 0.75, 1.5, 3),
    ]


def test_shortlist_rows_leave_out_what_is_undefined() -> None:
    assert shortlist_rows([ShortlistEntry(1, 0)], set(), kept_count=0, bin_count=3) == []


def test_gain_rows_are_the_precision_of_what_is_left_minus_that_of_the_shortlist() -> None:
    dropped = [Judgement(3, True, 0), Judgement(1, False, 0), Judgement(4, True, 1)]
    rows = gain_rows({1, 2, 3, 4}, dropped, {1, 9}, bin_count=3)
    # a quarter of the shortlist are targets; a third of {1, 2, 4}; half of {1, 2}
    assert [row[2] for row in rows] == pytest.approx([1 / 3 - 1 / 4, 1 / 2 - 1 / 4, 1 / 2 - 1 / 4])
    assert [row[1] for row in rows] == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert [(row[0], row[3]) for row in rows] == [("refinement_gain", 3), ("refinement_gain", 2), ("refinement_gain", 2)]


def test_gain_rows_are_negative_where_a_target_is_dropped_and_a_later_keep_takes_it_back() -> None:
    rows = gain_rows({1, 2}, [Judgement(1, True, 0), Judgement(1, False, 1)], {1}, bin_count=2)
    assert rows == [("refinement_gain", 0.25, -0.5, 1), ("refinement_gain", 0.75, 0.0, 2)]


def test_gain_rows_leave_out_positions_where_nothing_is_left() -> None:
    rows = gain_rows({1, 2}, [Judgement(1, True, 0), Judgement(2, True, 1)], {1}, bin_count=2)
    assert rows == [("refinement_gain", 0.25, -0.5, 1)]


def test_gain_rows_are_undefined_without_targets_or_shortlist() -> None:
    assert gain_rows({1}, [], set(), 2) == gain_rows(set(), [], {1}, 2) == []


def test_near_misses_never_hold_a_target_or_a_filtered_pair() -> None:
    angles = np.linspace(0, 1.5, 12)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    index = LabelIndex(np.arange(100, 112, dtype=np.int32), vectors)
    found = near_misses(index, np.array([103, 105], np.int32), left_out=[104], count=4)
    assert found.label_ids.tolist() == [102, 106, 101, 107]
    step = 1.5 / 11
    assert found.scores == pytest.approx([np.cos(step)] * 2 + [np.cos(2 * step)] * 2)


def test_near_misses_of_no_target_are_undefined() -> None:
    index = LabelIndex(np.array([0], np.int32), np.stack([E1]))
    with pytest.raises(EmptyTargetError):
        near_misses(index, np.array([], np.int32), [], 3)


def test_readable_step_drops_syntax_and_keeps_words() -> None:
    step = '{"label": "vim: editor", "verdict": "keep", "compared_to": null, "reason": "it says \\"modes\\""}'
    assert readable_step(step) == 'vim: editor keep it says "modes"'
    assert readable_step('{"label": "vim", "verd') == "label : vim , verd"
    assert readable_step("- <step>Keep vim</step>") == "Keep vim"
