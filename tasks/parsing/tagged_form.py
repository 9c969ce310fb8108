"""Answers in tags: `<shortlist>`, `<reasoning>` with `<step>`s or lines, `<answer>`; a tag that never closes ends at the next."""

import re
from collections.abc import Iterator

from tasks.parsing.drafts import Mention, StepDraft, TraceDraft
from tasks.parsing.items import answer_mentions, list_items, trimmed
from tasks.parsing.mentions import KnownLabels, MentionFinder
from tasks.parsing.names import Catalogue
from tasks.parsing.prose_form import judged_steps

SECTION = re.compile(
    r"<\s*(?:(?P<shortlist>shortlist|candidates)|(?P<reasoning>reasoning|refinement|steps)|(?P<answer>answers?|labels|final(?:_answer)?))"
    r"\b[^<>]*>",
    re.IGNORECASE,
)
CLOSING = re.compile(
    r"<\s*/\s*(?:shortlist|candidates|reasoning|refinement|steps|answers?|labels|final(?:_answer)?)\s*>", re.IGNORECASE
)
STEP = re.compile(r"<\s*step\b([^<>]*)>", re.IGNORECASE)
STEP_END = re.compile(r"<\s*/\s*step\s*>", re.IGNORECASE)
SOURCE = "completion_text"
Span = tuple[int, int]


def has_tags(text: str, start: int, end: int) -> bool:
    """True if the region opens one of our sections."""
    return SECTION.search(text, start, end) is not None


def read_tagged_answer(text: str, start: int, end: int, catalogue: Catalogue, takes_ids: bool) -> TraceDraft:
    """The draft of a tagged answer; a section that is missing stays empty."""
    sections = _sections(text, start, end)
    draft = TraceDraft("tagged")
    for mention, span in _candidates(text, sections.get("shortlist"), catalogue, takes_ids):
        draft.shortlist.append((mention, len(draft.steps)))
        draft.steps.append(StepDraft(SOURCE, *span, "shortlist", subject=mention))
    answer = sections.get("answer")
    draft.answers = answer_mentions(text, SOURCE, *answer, catalogue, takes_ids) if answer else []
    known = KnownLabels(catalogue.identity(m.text, m.link) for m in [*(m for m, _ in draft.shortlist), *draft.answers])
    finder = MentionFinder(text, SOURCE, catalogue, takes_ids)
    reasoning = sections.get("reasoning")
    draft.steps += judged_steps(finder, _step_spans(text, *reasoning), known) if reasoning else []
    draft.steps += [StepDraft(SOURCE, m.start, m.end, "answer", subject=m) for m in draft.answers]
    return draft


def _sections(text: str, start: int, end: int) -> dict[str, Span]:
    """The first section of each kind that holds text."""
    opened = list(SECTION.finditer(text, start, end))
    sections: dict[str, Span] = {}
    for match, after in zip(opened, [*opened[1:], None], strict=True):
        limit = after.start() if after else end
        closing = CLOSING.search(text, match.end(), limit)
        span = trimmed(text, match.end(), closing.start() if closing else limit)
        if span[1] > span[0]:
            sections.setdefault(match.lastgroup or "", span)
    return sections


def _candidates(text: str, span: Span | None, catalogue: Catalogue, takes_ids: bool) -> Iterator[tuple[Mention, Span]]:
    """Each candidate with the characters of its line; several candidates on one line have each their own."""
    for item in list_items(text, *span) if span else ():
        mentions = answer_mentions(text, SOURCE, item.start, item.end, catalogue, takes_ids)
        for mention in mentions:
            yield mention, (item.start, item.end) if len(mentions) == 1 else (mention.start, mention.end)


def _step_spans(text: str, start: int, end: int) -> list[Span]:
    """Inside the `<step>` tags; the tag too if it carries attributes; lines where there are no such tags."""
    opened = list(STEP.finditer(text, start, end))
    if not opened:
        return [(item.start, item.end) for item in list_items(text, start, end)]
    spans = []
    for match, after in zip(opened, [*opened[1:], None], strict=True):
        limit = after.start() if after else end
        closing = STEP_END.search(text, match.end(), limit)
        first = match.start() if match[1].strip() else match.end()
        spans.append(trimmed(text, first, closing.start() if closing else limit))
    return [span for span in spans if span[1] > span[0]]
