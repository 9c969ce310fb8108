"""Whole answers to drafts, and what the tests ask of them."""

from tasks.parsing.completions import Completion, read_completion
from tasks.parsing.drafts import Mention, RejectDraft, TraceDraft
from tests.unit.parsing.catalogue import LABELS, small_catalogue

CATALOGUE = small_catalogue()
UID = [uid for uid, _ in LABELS]


def read(
    content: str, reasoning: str = "", finish_reason: str = "stop", takes_ids: bool = False, variant: str = "both"
) -> TraceDraft | RejectDraft:
    return read_completion(Completion(content, reasoning, finish_reason, None, None, takes_ids, variant), CATALOGUE)


def trace(
    content: str, reasoning: str = "", finish_reason: str = "stop", takes_ids: bool = False, variant: str = "both"
) -> TraceDraft:
    draft = read(content, reasoning, finish_reason, takes_ids, variant)
    assert isinstance(draft, TraceDraft), draft
    return draft


def uid(mention: Mention | None) -> str | None:
    if mention is None:
        return None
    return UID[mention.link.label_id] if mention.link and mention.link.label_id is not None else mention.text


def shortlist(draft: TraceDraft) -> list[str | None]:
    return list(dict.fromkeys(uid(mention) for mention, _ in draft.shortlist))


def answers(draft: TraceDraft) -> list[str | None]:
    return [uid(mention) for mention in draft.answers]


def decided(draft: TraceDraft) -> list[tuple[str, str | None, str | None]]:
    steps = [step for step in draft.steps if step.phase == "refine" and step.verdict != "none"]
    return [(step.verdict, uid(step.subject), uid(step.other)) for step in steps]


def phases(draft: TraceDraft) -> str:
    return "".join(step.phase[0] for step in draft.steps)


def assert_sound(draft: TraceDraft | RejectDraft, content: str, reasoning: str) -> None:
    """One trace or one reject; every span quotes its text, every candidate's step is there."""
    if isinstance(draft, RejectDraft):
        assert draft.reason
        return
    texts = {"completion_text": content, "reasoning_text": reasoning}
    for step in draft.steps:
        assert texts[step.source][step.start : step.end]
    for mention in [*(mention for mention, _ in draft.shortlist), *draft.answers]:
        quoted = texts[mention.source][mention.start : mention.end]
        assert quoted == mention.text or "\\" in quoted or quoted == str(int(float(mention.text)))
    assert all(0 <= step < len(draft.steps) for _, step in draft.shortlist)
    assert draft.boundary_step is None or draft.steps[draft.boundary_step].phase in ("refine", "answer")
