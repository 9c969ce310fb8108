"""What an answer must hold by the phases that were asked for: both, the shortlist alone, or the refinement of a given one."""

import re
from dataclasses import replace

from tasks.parsing.boundary import GIVEN_EVIDENCE
from tasks.parsing.drafts import Mention, TraceDraft

LIST_ONLY, GIVEN = "phase-1", "phase-2"
SAYS_NONE = re.compile(r"\W*(?:none|no (?:\w+ ){0,2}labels?|nothing|n/a|empty)\b", re.IGNORECASE)
NONE_CHARS = 40


def phases_of(variant: str) -> str:
    """`both`, `phase-1` or `phase-2`: whose shortlist was given does not matter here."""
    return GIVEN if variant.startswith(GIVEN) else variant


def is_told(draft: TraceDraft, phases: str) -> bool:
    """True if a structured answer says itself what free reasoning beside it would be read for."""
    if phases == GIVEN:
        return any(step.phase == "refine" for step in draft.steps)
    return bool(draft.shortlist or (phases == LIST_ONLY and draft.answers))


def missing_part(draft: TraceDraft, phases: str) -> str | None:
    """The reject reason of a whole answer that lacks a part; null if it has what was asked for.

    A given shortlist may hold no label that fits: then the answer may be empty, if it is there and a label was judged.
    """
    if phases != GIVEN and not draft.shortlist and not (phases == LIST_ONLY and draft.answers):
        return "no_shortlist"
    judges = any(step.phase == "refine" and step.verdict in ("keep", "drop") for step in draft.steps)
    if phases == LIST_ONLY or draft.answers or (phases == GIVEN and draft.answers_none and judges):
        return None
    return "no_answer"


def without_none(draft: TraceDraft) -> TraceDraft:
    """A draft whose only answer is a word for none, as one with no answer."""
    if len(draft.answers) != 1 or not _is_none(draft.answers[0]):
        return draft
    steps = [step for step in draft.steps if step.phase != "answer"]
    return replace(draft, answers=[], steps=steps, answers_none=True)


def _is_none(mention: Mention) -> bool:
    return mention.link is None and len(mention.text) <= NONE_CHARS and SAYS_NONE.match(mention.text) is not None


def as_asked(draft: TraceDraft, phases: str) -> TraceDraft:
    """The draft in the terms of what was asked for.

    The list of a phase-1 answer is its shortlist, whatever the teacher called it. A shortlist that a phase-2 answer repeats
    was given, and counts for nothing.
    """
    if phases == GIVEN:
        steps = [step for step in draft.steps if step.phase != "shortlist"]
        refine = next((at for at, step in enumerate(steps) if step.phase == "refine"), None)
        return replace(draft, shortlist=[], steps=steps, boundary_step=refine, boundary_evidence_text=GIVEN_EVIDENCE)
    if phases == LIST_ONLY and draft.answers and (draft.answer_format == "prose" or not draft.shortlist):
        return _list_as_shortlist(draft)
    return draft


def _list_as_shortlist(draft: TraceDraft) -> TraceDraft:
    """The final labels as candidates: their steps are the last ones."""
    first = len(draft.steps) - len(draft.answers)
    listed = [replace(step, phase="shortlist") for step in draft.steps[first:]]
    shortlist = [(mention, first + at) for at, mention in enumerate(draft.answers)]
    return replace(draft, shortlist=shortlist, answers=[], steps=[*draft.steps[:first], *listed])
