import pytest

from tasks.parsing.boundary import StepEvents, boundary_evidence, find_boundary

NAMES = StepEvents(1, False, False)
TALK = StepEvents(0, False, False)
JUDGES = StepEvents(0, True, True)
TAKES_UP = StepEvents(0, True, False)
NAMES_AND_JUDGES = StepEvents(1, True, True)


@pytest.mark.parametrize(
    ("events", "boundary"),
    [
        ([NAMES, NAMES, JUDGES, JUDGES], 2),
        ([TALK, NAMES, TAKES_UP, JUDGES], 2),
        ([NAMES, TAKES_UP, NAMES, NAMES, NAMES, JUDGES, JUDGES], 5),
        ([NAMES, NAMES, JUDGES, NAMES, JUDGES, JUDGES], 2),
        ([NAMES_AND_JUDGES, NAMES_AND_JUDGES], 0),
        ([NAMES, NAMES], None),
        ([], None),
    ],
)
def test_find_boundary_has_most_events_in_place(events: list[StepEvents], boundary: int | None) -> None:
    assert find_boundary(events) == boundary


def test_boundary_evidence_counts_both_sides() -> None:
    evidence = boundary_evidence([NAMES, NAMES, JUDGES, NAMES, JUDGES], 2)
    assert "step 2, with verdict" in evidence
    assert "2 of 3 first mentions before, 2 of 2 verdicts after" in evidence
