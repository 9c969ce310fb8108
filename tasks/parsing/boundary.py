"""The phase boundary t*: the step that best divides naming labels from arguing about them."""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.parsing.drafts import TraceDraft

GIVEN_EVIDENCE = "the shortlist was given: every step refines"


class StepEvents(NamedTuple):
    """What one step does: how many labels it names for the first time, and whether it argues.

    `argues`: it decides about a label, takes up one that was named before, or says that it now goes into detail.
    """

    first_mentions: int
    argues: bool
    has_verdict: bool


def find_boundary(events: Sequence[StepEvents]) -> int | None:
    """The first step of the refinement phase; None if no step argues.

    A first mention is in place before the boundary, an arguing step from it on. The boundary is the arguing step with the
    most events in place, the earliest of equals. A label that is named and judged in one step is no first mention.
    """
    best, boundary = -1, None
    before, after = 0, sum(step.argues for step in events)
    for at, step in enumerate(events):
        if step.argues and before + after > best:
            best, boundary = before + after, at
        before += 0 if step.has_verdict else step.first_mentions
        after -= step.argues
    return boundary


def boundary_evidence(events: Sequence[StepEvents], boundary: int | None) -> str:
    """Why the boundary stands there: how many first mentions lie before it and how many verdicts at or after it."""
    named = sum(step.first_mentions for step in events)
    decided = sum(step.has_verdict for step in events)
    if boundary is None:
        return f"no step argues about a label; {named} first mentions, {decided} verdicts"
    before = sum(step.first_mentions for step in events[:boundary])
    after = sum(step.has_verdict for step in events[boundary:])
    what = "with verdict" if events[boundary].has_verdict else "without verdict"
    return (
        f"arguing begins at step {boundary}, {what}; {before} of {named} first mentions before, "
        f"{after} of {decided} verdicts after"
    )


def section_evidence(draft: TraceDraft, boundary: int | None) -> str:
    """Why the boundary stands there in an answer with sections: its own section of steps begins there."""
    if boundary is None:
        return f"the answer has no section of steps; {len(draft.shortlist)} candidates"
    named = len(draft.shortlist)
    before = sum(step < boundary for _, step in draft.shortlist)
    verdicts = sum(step.verdict in ("keep", "drop") for step in draft.steps)
    return f"the section of steps begins at step {boundary}; {before} of {named} candidates before, {verdicts} verdicts after"
