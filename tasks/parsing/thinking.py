"""Thinking apart from the answer: a column of its own, or a `<think>` block whose tags may be missing or quoted."""

import re
from dataclasses import dataclass

from tasks.parsing.items import trimmed
from tasks.parsing.json_form import answer_objects
from tasks.parsing.spans import Taken
from tasks.parsing.tagged_form import all_sections

THINK_OPENS = re.compile(r"\s*<\s*think(?:ing)?\s*>", re.IGNORECASE)
THINK_CLOSES = re.compile(r"<\s*/\s*think(?:ing)?\s*>", re.IGNORECASE)
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the reasoning stands (column and span, or nowhere) and the span of the rest of the content."""

    source: str
    reasoning: Span | None
    content: Span


def split_content(content: str, reasoning: str) -> Parts:
    """Reasoning apart from the rest: the reasoning column if it has text, else a `<think>` block."""
    opens = THINK_OPENS.match(content)
    start = opens.end() if opens else 0
    closing = _closing(content, start) if opens or not reasoning.strip() else None
    if closing:
        block, rest = trimmed(content, start, closing[0]), trimmed(content, closing[1], len(content))
    elif start:
        block, rest = trimmed(content, start, len(content)), (len(content), len(content))
    else:
        block, rest = (0, 0), trimmed(content, 0, len(content))
    if reasoning.strip():
        return Parts("reasoning_text", trimmed(reasoning, 0, len(reasoning)), rest)
    return Parts("completion_text", block if block[1] > block[0] else None, rest)


def _closing(content: str, start: int) -> Span | None:
    """The tag that ends the thinking: the last that an answer does not quote; the first at least, if the block was opened."""
    closes = [match.span() for match in THINK_CLOSES.finditer(content, start)]
    if not closes or (start and len(closes) == 1):
        return closes[0] if closes else None
    first = closes[0][1] if start else 0
    answers = [(node.start, node.end) for node in answer_objects(content, first, len(content))]
    closed = [(one.start, one.end) for _, one in all_sections(content, first, len(content)) if one.is_closed]
    quoting = Taken(first, len(content), [*answers, *closed])
    outside = [span for span in closes if span[0] < first or not quoting.touches(*span)]
    return outside[-1] if outside else None
