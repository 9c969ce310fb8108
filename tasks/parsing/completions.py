"""One raw teacher answer to a draft or a reject: which form it has, where its reasoning and its final labels stand."""

from dataclasses import dataclass, replace

from tasks.parsing.boundary import section_evidence
from tasks.parsing.compact_form import is_compact, read_compact_answer
from tasks.parsing.cues import ANSWER_HEADING, LIST_HEADING, REFUSAL, lowered
from tasks.parsing.drafts import Mention, RejectDraft, StepDraft, TraceDraft
from tasks.parsing.items import Item, answer_mentions, known_label, list_items, looks_like_sentence, trimmed
from tasks.parsing.json_form import find_answer, read_json_answer
from tasks.parsing.mentions import MentionFinder
from tasks.parsing.names import Catalogue
from tasks.parsing.prose_form import read_reasoning
from tasks.parsing.sentences import sentences
from tasks.parsing.tagged_form import find_sections, read_tagged_answer
from tasks.parsing.thinking import Parts, Span, split_content
from tasks.parsing.variants import GIVEN, LIST_ONLY, SAYS_NONE, as_asked, is_told, missing_part, phases_of, without_none

REFUSAL_WITHIN = 400
SEEN_CHARS = 120


@dataclass(frozen=True, slots=True)
class Completion:
    """What one row of `raw_traces` says."""

    completion_text: str
    reasoning_text: str
    finish_reason: str | None
    error_kind: str | None
    error_text: str | None
    takes_ids: bool
    variant: str = "both"

    @property
    def is_truncated(self) -> bool:
        """True if the answer was cut off."""
        return self.finish_reason in ("length", "connection_cut")

    @property
    def phases(self) -> str:
        """Which phases were asked for."""
        return phases_of(self.variant)


def read_completion(raw: Completion, catalogue: Catalogue) -> TraceDraft | RejectDraft:
    """The trace as read, or why it cannot be used; never raises on any text."""
    if raw.error_kind is not None:
        return RejectDraft("teacher_error", f"{raw.error_kind}: {_seen(raw.error_text or '')}")
    if raw.finish_reason == "content_filter":
        return RejectDraft("refused", "finish_reason is content_filter")
    if not raw.completion_text.strip() and not raw.reasoning_text.strip():
        return RejectDraft("empty_completion", f"no text, finish_reason {raw.finish_reason}")
    draft = _read(raw, split_content(raw.completion_text, raw.reasoning_text), catalogue)
    draft = without_none(draft) if raw.phases == GIVEN else draft
    return _reject_reason(raw, draft) or _finished(as_asked(draft, raw.phases))


def _read(raw: Completion, parts: Parts, catalogue: Catalogue) -> TraceDraft:
    draft = _read_structured(raw, parts.content, catalogue)
    if draft is None:
        return _read_prose(raw, parts, catalogue)
    if parts.reasoning is None or is_told(draft, raw.phases):
        return draft
    return _with_reasoning(raw, parts.source, parts.reasoning, draft, draft.answers, catalogue)


def _read_structured(raw: Completion, region: Span, catalogue: Catalogue) -> TraceDraft | None:
    """The draft of a compact, JSON or tagged answer; of these two the one with more parts, the first of equals; else none."""
    text = raw.completion_text
    if is_compact(text, *region):
        return read_compact_answer(text, *region, catalogue)
    node, sections = find_answer(text, *region), find_sections(text, *region)
    if sections and node is not None:
        opens = min(section.start for section in sections.values())
        part_count = sum(not part.is_empty for part in node.fields.values())
        node = None if (len(sections), -opens) > (part_count, -node.start) else node
    if node is not None:
        return read_json_answer(text, node, catalogue, raw.takes_ids)
    return read_tagged_answer(text, sections, catalogue, raw.takes_ids) if sections else None


def _read_prose(raw: Completion, parts: Parts, catalogue: Catalogue) -> TraceDraft:
    draft = TraceDraft("prose")
    if parts.reasoning is not None and parts.content[1] > parts.content[0]:
        heading = _last_heading(raw.completion_text, *parts.content, raw.phases)
        span = (heading[1], parts.content[1]) if heading else parts.content
        draft.answers_none = _says_none(raw, "completion_text", span)
        answers = _answers(raw, "completion_text", span, catalogue)
        if not answers and not draft.answers_none:
            answers = _named_in(raw, "completion_text", parts.content, catalogue)
        return _with_reasoning(raw, parts.source, parts.reasoning, draft, answers, catalogue)
    source = parts.source if parts.reasoning is not None else "completion_text"
    whole = parts.reasoning or parts.content
    reasoning, answer = split_answer(_text(raw, source), *whole, raw.is_truncated, raw.phases)
    if answer is None and not raw.is_truncated:
        reasoning, answer = split_last_labels(_text(raw, source), *whole, catalogue, raw.takes_ids)
    draft.answers_none = _says_none(raw, source, answer or reasoning)
    answers = _answers(raw, source, answer, catalogue) if answer else []
    return _with_reasoning(raw, source, reasoning, draft, answers, catalogue)


def split_answer(text: str, start: int, end: int, is_truncated: bool, phases: str = "both") -> tuple[Span, Span | None]:
    """Reasoning and final labels that stand in one text: at the last answer heading, else before a list that ends the text.

    Where no more than a shortlist was asked for, the list may be all of the text, plain lines, or cut off.
    """
    heading = _last_heading(text, start, end, phases)
    if heading:
        return (start, heading[0]), (heading[1], end)
    items = list(list_items(text, start, end))
    first, last = _listed_lines(text, items) if phases == LIST_ONLY else _last_bullets(items, len(items))
    if first == last or (phases != LIST_ONLY and (is_truncated or first == 0)):
        return (start, end), None
    line = text.rfind("\n", start, items[first].start) + 1 or start
    return (start, line), (line, items[last - 1].end if phases == LIST_ONLY else end)


def split_last_labels(text: str, start: int, end: int, catalogue: Catalogue, takes_ids: bool) -> tuple[Span, Span | None]:
    """Reasoning, and the lines at its end that are a label and nothing else."""
    items = list(list_items(text, start, end))
    first = len(items)
    while first and known_label(text, items[first - 1], catalogue, takes_ids):
        first -= 1
    if first in (0, len(items)):
        return (start, end), None
    line = text.rfind("\n", start, items[first].start) + 1 or start
    return (start, line), (line, end)


def _last_bullets(items: list[Item], last: int) -> tuple[int, int]:
    first = last
    while first and items[first - 1].has_bullet:
        first -= 1
    return first, last


def _listed_lines(text: str, items: list[Item]) -> tuple[int, int]:
    """The last row of bullets; without any, at least two last lines that are no sentences."""
    bullets = [at for at, item in enumerate(items) if item.has_bullet]
    if bullets:
        return _last_bullets(items, bullets[-1] + 1)
    first = len(items)
    while first and not looks_like_sentence(text[items[first - 1].start : items[first - 1].end]):
        first -= 1
    return (first, len(items)) if len(items) - first > 1 else (0, 0)


def _last_heading(text: str, start: int, end: int, phases: str) -> Span | None:
    pattern = LIST_HEADING if phases == LIST_ONLY else ANSWER_HEADING
    _, end = trimmed(text, start, end)
    last = None
    for match in pattern.finditer(lowered(text), start, end):
        if match.end() < end:
            last = match.span()
    return last


def _says_none(raw: Completion, source: str, span: Span) -> bool:
    """True if a phase-2 answer says that no label fits, or ends with the heading of its answer."""
    text = _text(raw, source)[span[0] : span[1]].rstrip()
    if raw.phases != GIVEN:
        return False
    return SAYS_NONE.match(text) is not None or ANSWER_HEADING.fullmatch(lowered(text[text.rfind("\n") + 1 :])) is not None


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
    is_given = raw.phases == GIVEN
    reasoning = read_reasoning(_text(raw, source), source, [region], catalogue, raw.takes_ids, known, is_given)
    listed = [StepDraft(mention.source, mention.start, mention.end, "answer", subject=mention) for mention in answers]
    if not answers and raw.phases != LIST_ONLY and not draft.answers_none:
        answers = [step.subject for step in reasoning.steps if step.phase == "answer" and step.subject]
    return replace(
        reasoning,
        answer_format=draft.answer_format,
        answers=answers,
        answers_none=draft.answers_none,
        steps=[*reasoning.steps, *listed],
    )


def _text(raw: Completion, source: str) -> str:
    return raw.reasoning_text if source == "reasoning_text" else raw.completion_text


def _reject_reason(raw: Completion, draft: TraceDraft) -> RejectDraft | None:
    content = raw.completion_text.strip()
    is_linked = any(mention.link is not None for mention in draft.answers)
    if not is_linked and REFUSAL.search(lowered(content[:REFUSAL_WITHIN])) and draft.answer_format == "prose":
        return RejectDraft("refused", _seen(content))
    if not draft.shortlist and not draft.answers and not (raw.phases == GIVEN and any(step.subject for step in draft.steps)):
        return RejectDraft("unreadable_answer", _seen(content or raw.reasoning_text))
    missing = None if raw.is_truncated else missing_part(draft, raw.phases)
    if missing == "no_shortlist":
        return RejectDraft(missing, f"{len(draft.answers)} final labels, no candidates: {_seen(content)}")
    if missing == "no_answer":
        return RejectDraft(missing, f"{len(draft.shortlist)} candidates, no final label: {_seen(content)}")
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
