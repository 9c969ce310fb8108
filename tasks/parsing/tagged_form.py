"""Answers in tags: `<shortlist>`, `<reasoning>` with `<step>`s or lines, `<answer>`; a tag that never closes ends at the next."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tasks.parsing.drafts import Mention, StepDraft, TraceDraft
from tasks.parsing.items import answer_mentions, list_items, trimmed
from tasks.parsing.mentions import KnownLabels, MentionFinder
from tasks.parsing.names import Catalogue
from tasks.parsing.parts import best_parts
from tasks.parsing.prose_form import judged_steps
from tasks.parsing.spans import Taken

TAG = re.compile(
    r"<\s*+(?:(?P<shortlist>shortlist|candidates)|(?P<steps>reasoning|refinement|steps)"
    r"|(?P<answer>answers?|labels|final(?:_answer)?))\b[^<>]*+>"
    r"|<\s*+/\s*+(?:shortlist|candidates|reasoning|refinement|steps|answers?|labels|final(?:_answer)?)\s*+>",
    re.IGNORECASE,
)
STEP = re.compile(r"<\s*step\b([^<>]*)>", re.IGNORECASE)
STEP_TAG = re.compile(r"<\s*+(?:(?P<opens>step\b[^<>]*+>)|/\s*+step\s*+>)", re.IGNORECASE)
STEP_END = re.compile(r"<\s*/\s*step\s*>", re.IGNORECASE)
CUT_TAG = re.compile(r"<\s*/?\s*[a-z_]*$", re.IGNORECASE)
LONGEST_TAG = 16
"""Characters of a tag that an answer may be cut off in: `</final_answer`."""

SOURCE = "completion_text"
Span = tuple[int, int]


class Section(NamedTuple):
    """The inside of a section: from its tag to the next tag, its own closing tag if `is_closed`."""

    start: int
    end: int
    is_closed: bool


def find_sections(text: str, start: int, end: int) -> dict[str, Section]:
    """The answer's sections in a region, by the names of `PARTS`; none if all are empty.

    An answer that holds no label has an empty section. Sections that close weigh more than tags in passing.
    """
    found = list(all_sections(text, start, end))
    holding = [{kind: section} for kind, section in found if text[section.start : section.end].strip()]
    parts = best_parts(holding, lambda section: 1 + section.is_closed)
    if parts and "answer" not in parts:
        parts |= {kind: section for kind, section in found if kind == "answer"}
    return parts


def all_sections(text: str, start: int, end: int) -> Iterator[tuple[str, Section]]:
    """Every section of a region, in order. Tags inside a closed `<step>` are quoted, not meant."""
    quoting = Taken(start, end, _closed_steps(text, start, end))
    tags = [match for match in TAG.finditer(text, start, end) if not quoting.touches(*match.span())]
    cut = CUT_TAG.search(text, max(start, end - LONGEST_TAG), end)
    end = cut.start() if cut else end
    for match, after in zip(tags, [*tags[1:], None], strict=False):
        if match.lastgroup:
            is_closed = after is not None and after.lastgroup is None
            yield match.lastgroup, Section(match.end(), after.start() if after else max(match.end(), end), is_closed)


def _closed_steps(text: str, start: int, end: int) -> Iterator[Span]:
    opened: int | None = None
    for match in STEP_TAG.finditer(text, start, end):
        if match.lastgroup == "opens":
            opened = match.end()
        elif opened is not None:
            yield opened, match.start()
            opened = None


def read_tagged_answer(text: str, sections: Mapping[str, Section], catalogue: Catalogue, takes_ids: bool) -> TraceDraft:
    """The draft of a tagged answer; a section that is missing stays empty."""
    draft = TraceDraft("tagged")
    for mention, span in _candidates(text, sections.get("shortlist"), catalogue, takes_ids):
        draft.shortlist.append((mention, len(draft.steps)))
        draft.steps.append(StepDraft(SOURCE, *span, "shortlist", subject=mention))
    answer = sections.get("answer")
    draft.answers = answer_mentions(text, SOURCE, answer.start, answer.end, catalogue, takes_ids) if answer else []
    draft.answers_none = answer is not None and not text[answer.start : answer.end].strip()
    known = KnownLabels(catalogue.identity(m.text, m.link) for m in [*(m for m, _ in draft.shortlist), *draft.answers])
    reasoning = sections.get("steps")
    if reasoning:
        finder = MentionFinder(text, SOURCE, catalogue, takes_ids, reasoning[:2])
        draft.steps += judged_steps(finder, _step_spans(text, reasoning.start, reasoning.end), known)
    draft.steps += [StepDraft(SOURCE, m.start, m.end, "answer", subject=m) for m in draft.answers]
    return draft


def _candidates(text: str, section: Section | None, catalogue: Catalogue, takes_ids: bool) -> Iterator[tuple[Mention, Span]]:
    """Each candidate with the characters of its line; several candidates on one line have each their own."""
    for item in list_items(text, section.start, section.end) if section else ():
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
