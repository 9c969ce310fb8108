"""One raw teacher answer to a draft or a reject: which form it has, where its reasoning and its final labels stand."""

import re
from dataclasses import dataclass, replace

from tasks.parsing.boundary import section_evidence
from tasks.parsing.cues import ANSWER_HEADING, REFUSAL, lowered
from tasks.parsing.drafts import Mention, RejectDraft, StepDraft, TraceDraft
from tasks.parsing.items import answer_mentions, list_items, trimmed
from tasks.parsing.json_form import find_answer_object, read_json_answer
from tasks.parsing.mentions import MentionFinder
from tasks.parsing.names import Catalogue
from tasks.parsing.prose_form import read_reasoning
from tasks.parsing.sentences import sentences
from tasks.parsing.tagged_form import has_tags, read_tagged_answer

THINK_OPENS = re.compile(r"<\s*think(?:ing)?\s*>", re.IGNORECASE)
THINK_CLOSES = re.compile(r"<\s*/\s*think(?:ing)?\s*>", re.IGNORECASE)
REFUSAL_WITHIN = 400
SEEN_CHARS = 120
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Completion:
    """What one row of `raw_traces` says."""

    completion_text: str
    reasoning_text: str
    finish_reason: str | None
    error_kind: str | None
    error_text: str | None
    takes_ids: bool

    @property
    def is_truncated(self) -> bool:
        """True if the answer was cut off."""
        return self.finish_reason in ("length", "connection_cut")


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the reasoning stands (column and span, or nowhere) and the span of the rest of the content."""

    source: str
    reasoning: Span | None
    content: Span


def read_completion(raw: Completion, catalogue: Catalogue) -> TraceDraft | RejectDraft:
    """The trace as read, or why it cannot be used; never raises on any text."""
    if raw.error_kind is not None:
        return RejectDraft("teacher_error", f"{raw.error_kind}: {_seen(raw.error_text or '')}")
    if raw.finish_reason == "content_filter":
        return RejectDraft("refused", "finish_reason is content_filter")
    if not raw.completion_text.strip() and not raw.reasoning_text.strip():
        return RejectDraft("empty_completion", f"no text, finish_reason {raw.finish_reason}")
    draft = _read(raw, split_content(raw.completion_text, raw.reasoning_text), catalogue)
    return _reject_reason(raw, draft) or _finished(draft)


def split_content(content: str, reasoning: str) -> Parts:
    """Reasoning apart from the rest: the reasoning column if it has text, else a `<think>` block, whose tags may be missing."""
    opens, closes = THINK_OPENS.search(content), list(THINK_CLOSES.finditer(content))
    start = opens.end() if opens and not content[: opens.start()].strip() else 0
    if closes and closes[-1].start() >= start:
        block, rest = trimmed(content, start, closes[-1].start()), trimmed(content, closes[-1].end(), len(content))
    elif start:
        block, rest = trimmed(content, start, len(content)), (len(content), len(content))
    else:
        block, rest = (0, 0), trimmed(content, 0, len(content))
    if reasoning.strip():
        return Parts("reasoning_text", trimmed(reasoning, 0, len(reasoning)), rest)
    return Parts("completion_text", block if block[1] > block[0] else None, rest)


def _read(raw: Completion, parts: Parts, catalogue: Catalogue) -> TraceDraft:
    content = raw.completion_text
    node = find_answer_object(content, *parts.content)
    if node is not None:
        draft = read_json_answer(content, node, catalogue, raw.takes_ids)
    elif has_tags(content, *parts.content):
        draft = read_tagged_answer(content, *parts.content, catalogue, raw.takes_ids)
    else:
        return _read_prose(raw, parts, catalogue)
    if draft.shortlist or parts.reasoning is None:
        return draft
    return _with_reasoning(raw, parts.source, parts.reasoning, draft, draft.answers, catalogue)


def _read_prose(raw: Completion, parts: Parts, catalogue: Catalogue) -> TraceDraft:
    draft = TraceDraft("prose")
    if parts.reasoning is not None and parts.content[1] > parts.content[0]:
        heading = _last_heading(raw.completion_text, *parts.content)
        span = (heading[1], parts.content[1]) if heading else parts.content
        answers = _answers(raw, "completion_text", span, catalogue) or _named_in(raw, "completion_text", parts.content, catalogue)
        return _with_reasoning(raw, parts.source, parts.reasoning, draft, answers, catalogue)
    source = parts.source if parts.reasoning is not None else "completion_text"
    reasoning, answer = split_answer(_text(raw, source), *(parts.reasoning or parts.content), raw.is_truncated)
    answers = _answers(raw, source, answer, catalogue) if answer else []
    return _with_reasoning(raw, source, reasoning, draft, answers, catalogue)


def split_answer(text: str, start: int, end: int, is_truncated: bool) -> tuple[Span, Span | None]:
    """Reasoning and final labels that stand in one text: at the last answer heading, else before a list that ends the text."""
    heading = _last_heading(text, start, end)
    if heading:
        return (start, heading[0]), (heading[1], end)
    items = list(list_items(text, start, end))
    at = len(items)
    while at and items[at - 1].has_bullet:
        at -= 1
    if is_truncated or at in (0, len(items)):
        return (start, end), None
    first = items[at].start
    line = text.rfind("\n", start, first) + 1 or start
    return (start, line), (line, end)


def _last_heading(text: str, start: int, end: int) -> Span | None:
    last = None
    for match in ANSWER_HEADING.finditer(lowered(text), start, end):
        if text[match.end() : end].strip():
            last = match.span()
    return last


def _answers(raw: Completion, source: str, span: Span, catalogue: Catalogue) -> list[Mention]:
    return answer_mentions(_text(raw, source), source, *span, catalogue, raw.takes_ids)


def _named_in(raw: Completion, source: str, span: Span, catalogue: Catalogue) -> list[Mention]:
    """Labels named for sure in sentences, where the final answer is no list."""
    finder = MentionFinder(_text(raw, source), source, catalogue, raw.takes_ids)
    return [named.mention for part in sentences(finder.text, finder.low, [span]) for named in finder.find(part) if named.is_sure]


def _with_reasoning(
    raw: Completion, source: str, region: Span, draft: TraceDraft, answers: list[Mention], catalogue: Catalogue
) -> TraceDraft:
    """The answers of a draft with the shortlist and steps of free reasoning; conclusions stand in for a missing list."""
    known = [catalogue.identity(mention.text, mention.link) for mention in answers]
    reasoning = read_reasoning(_text(raw, source), source, [region], catalogue, raw.takes_ids, known)
    if not answers:
        answers = [step.subject for step in reasoning.steps if step.phase == "answer" and step.subject]
        listed: list[StepDraft] = []
    else:
        listed = [StepDraft(mention.source, mention.start, mention.end, "answer", subject=mention) for mention in answers]
    return replace(reasoning, answer_format=draft.answer_format, answers=answers, steps=[*reasoning.steps, *listed])


def _text(raw: Completion, source: str) -> str:
    return raw.reasoning_text if source == "reasoning_text" else raw.completion_text


def _reject_reason(raw: Completion, draft: TraceDraft) -> RejectDraft | None:
    content = raw.completion_text.strip()
    is_linked = any(mention.link is not None for mention in draft.answers)
    if not is_linked and REFUSAL.search(lowered(content[:REFUSAL_WITHIN])) and draft.answer_format == "prose":
        return RejectDraft("refused", _seen(content))
    if not draft.shortlist and not draft.answers:
        return RejectDraft("unreadable_answer", _seen(content or raw.reasoning_text))
    if not draft.shortlist and not raw.is_truncated:
        return RejectDraft("no_shortlist", f"{len(draft.answers)} final labels, no candidates: {_seen(content)}")
    if not draft.answers and not raw.is_truncated:
        return RejectDraft("no_answer", f"{len(draft.shortlist)} candidates, no final label: {_seen(content)}")
    return None


def _seen(text: str) -> str:
    line = " ".join(text[: 4 * SEEN_CHARS].split())
    return line if len(line) <= SEEN_CHARS else line[: SEEN_CHARS - 1] + "…"


def _finished(draft: TraceDraft) -> TraceDraft:
    """Structured answers say themselves where the refinement begins."""
    if draft.boundary_evidence_text:
        return draft
    refine = next((at for at, step in enumerate(draft.steps) if step.phase == "refine"), None)
    return replace(draft, boundary_step=refine, boundary_evidence_text=section_evidence(draft, refine))
