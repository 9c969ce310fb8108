import numpy as np
import polars as pl
import pytest

from schemas.config import CharacterizeConfig
from tasks.labels.search import LabelIndex
from tasks.phases.curves import trace_rows
from tasks.phases.sampling import DocumentTrace

LABELS = LabelIndex(np.arange(4, dtype=np.int32), np.eye(4, dtype=np.float32))
STEPS = pl.DataFrame({"step": [0, 1, 2, 3], "position": [0.0, 1 / 3, 2 / 3, 1.0]})
SHORTLIST = pl.DataFrame({"label_id": [0, 2], "step": [0, 1]}, schema={"label_id": pl.Int32, "step": pl.Int32})
SETTINGS = CharacterizeConfig(positions=2, near_miss_count=2)


def trace(targets: tuple[int, ...] = (0,), left_out: tuple[int, ...] = (3,)) -> DocumentTrace:
    return DocumentTrace("d", "text", STEPS, SHORTLIST, targets, left_out, kept_count=1)


def values(found: DocumentTrace, steps: list[int], document: int) -> dict[str, list[float]]:
    rows = trace_rows(found, np.eye(4, dtype=np.float32)[steps], np.eye(4, dtype=np.float32)[document], LABELS, SETTINGS)
    by_quantity: dict[str, list[float]] = {}
    for quantity, _, value, _ in rows:
        by_quantity.setdefault(quantity, []).append(value)
    return by_quantity


def test_trace_rows_average_steps_within_a_bin() -> None:
    found = values(trace(), steps=[0, 1, 0, 0], document=0)
    assert found["focus"] == pytest.approx([0.5, 1.0])


def test_trace_rows_measure_confusion_against_labels_that_are_neither_target_nor_left_out() -> None:
    found = values(trace(), steps=[1, 2, 3, 0], document=0)
    assert found["confusion"] == pytest.approx([0.5, 0.0])
    assert found["confusion_floor"] == pytest.approx([0.0, 0.0])


def test_trace_rows_accumulate_the_shortlist() -> None:
    found = values(trace(targets=(0, 2)), steps=[0, 0, 0, 0], document=0)
    assert found["shortlist_recall"] == [1.0, 1.0]
    assert found["inflation"] == [2.0, 2.0]


def test_trace_rows_of_a_document_without_targets_have_focus_and_inflation_only() -> None:
    assert set(values(trace(targets=()), steps=[0, 0, 0, 0], document=0)) == {"focus", "inflation"}


def test_trace_rows_without_any_near_miss_leave_confusion_out() -> None:
    found = values(trace(targets=(0, 1, 2), left_out=(3,)), steps=[0, 0, 0, 0], document=0)
    assert set(found) == {"focus", "shortlist_recall", "inflation"}
