import numpy as np
import polars as pl
import pytest

from schemas.config import CharacterizeConfig
from tasks.labels.search import LabelIndex
from tasks.phases.curves import TraceMeasures, half_means, judgements, measure_trace, phase_means
from tasks.phases.sampling import DocumentTrace
from tasks.phases.trajectories import Judgement

LABELS = LabelIndex(np.arange(4, dtype=np.int32), np.eye(4, dtype=np.float32))
STEPS = pl.DataFrame(
    {
        "step": [0, 1, 2, 3],
        "position": [0.0, 1 / 3, 2 / 3, 1.0],
        "phase": ["shortlist", "refine", "refine", "answer"],
        "verdict": ["none", "keep", "drop", "none"],
        "target_label_id": [None, 0, 0, None],
        "near_miss_label_id": [None, None, 2, None],
    }
)
SHORTLIST = pl.DataFrame({"label_id": [0, 2], "step": [0, 1]}, schema={"label_id": pl.Int32, "step": pl.Int32})
SETTINGS = CharacterizeConfig(positions=2, near_miss_count=2)


def trace(targets: tuple[int, ...] = (0,), left_out: tuple[int, ...] = (3,)) -> DocumentTrace:
    return DocumentTrace("d", "text", STEPS, SHORTLIST, targets, left_out, kept_count=1)


def measures(found: DocumentTrace, steps: list[int], document: int) -> TraceMeasures:
    return measure_trace(found, np.eye(4, dtype=np.float32)[steps], np.eye(4, dtype=np.float32)[document], LABELS, SETTINGS)


def values(found: DocumentTrace, steps: list[int], document: int) -> dict[str, list[float]]:
    by_quantity: dict[str, list[float]] = {}
    for quantity, _, value, _ in measures(found, steps, document).rows:
        by_quantity.setdefault(quantity, []).append(value)
    return by_quantity


def test_measure_trace_average_steps_within_a_bin() -> None:
    found = values(trace(), steps=[0, 1, 0, 0], document=0)
    assert found["focus"] == pytest.approx([0.5, 1.0])


def test_measure_trace_measure_confusion_against_labels_that_are_neither_target_nor_left_out() -> None:
    found = values(trace(), steps=[1, 2, 3, 0], document=0)
    assert found["confusion"] == pytest.approx([0.5, 0.0])
    assert found["confusion_floor"] == pytest.approx([0.0, 0.0])


def test_measure_trace_accumulate_the_shortlist() -> None:
    found = values(trace(targets=(0, 2)), steps=[0, 0, 0, 0], document=0)
    assert found["shortlist_recall"] == [1.0, 1.0]
    assert found["inflation"] == [2.0, 2.0]


def test_measure_trace_of_a_document_without_targets_have_focus_and_inflation_only() -> None:
    assert set(values(trace(targets=()), steps=[0, 0, 0, 0], document=0)) == {"focus", "inflation"}


def test_measure_trace_without_any_near_miss_leave_confusion_out() -> None:
    found = values(trace(targets=(0, 1, 2), left_out=(3,)), steps=[0, 0, 0, 0], document=0)
    assert set(found) == {"focus", "shortlist_recall", "inflation", "refinement_gain"}


def test_measure_trace_gives_near_misses_and_the_means_of_each_phase() -> None:
    found = measures(trace(), steps=[0, 1, 3, 0], document=0)
    assert found.near.label_ids.tolist() == [1, 2]
    assert found.near.scores.tolist() == [0.0, 0.0]
    assert found.focus_by_phase == (1.0, 0.0)
    # the near misses are 1 and 2: the first refinement step is one of two, the second neither
    assert found.confusion_by_half == (0.5, 0.0)


def test_measure_trace_gains_when_a_label_that_is_no_target_is_dropped() -> None:
    found = values(trace(), steps=[0, 0, 0, 0], document=0)
    assert found["refinement_gain"] == [0.0, 0.5]


def test_measure_trace_takes_no_notice_of_filtered_labels_in_the_gain() -> None:
    found = values(trace(left_out=(2,)), steps=[0, 0, 0, 0], document=0)
    assert found["refinement_gain"] == [0.0, 0.0]


def test_measure_trace_without_targets_has_no_near_miss_and_no_confusion() -> None:
    found = measures(trace(targets=()), steps=[0, 1, 1, 0], document=0)
    assert len(found.near.label_ids) == 0
    assert found.confusion_by_half is None
    assert found.focus_by_phase == (1.0, 0.0)


def test_phase_means_need_a_step_of_each_phase() -> None:
    focused = np.array([0.5, 0.3, 0.1], np.float32)
    assert phase_means(focused, ["shortlist", "shortlist", "refine"]) == pytest.approx((0.4, 0.1))
    assert phase_means(focused, ["refine", "refine", "answer"]) is None


def test_half_means_leave_the_middle_out() -> None:
    assert half_means(np.array([1.0, 2.0, 9.0, 3.0, 5.0], np.float32)) == (1.5, 4.0)
    assert half_means(np.array([1.0], np.float32)) is None


def test_judgements_are_for_what_is_kept_and_against_what_is_dropped() -> None:
    assert judgements(trace(), 2) == [Judgement(0, False, 0), Judgement(2, True, 1)]
