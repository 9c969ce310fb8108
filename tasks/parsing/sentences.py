"""Reasoning text cut into steps: list items and sentences, each with its place in the raw text."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tasks.parsing.cues import REFINE_CUE, REFINE_HEADING, SHORTLIST_CUE
from tasks.parsing.items import BULLET, LINE, RULE_OR_FENCE, looks_like_sentence, trimmed
from tasks.parsing.spans import Taken

MARKED = re.compile(
    r"[*\"“«`‘'](?:"
    r"(?<=\*)\*(?P<strong>[^*\n]{1,200}?)\*\*"
    r"|(?<=\")(?P<straight>[^\"\n]{1,200})\""
    r"|(?<=“)(?P<curly>[^”\n]{1,200})”"
    r"|(?<=«)(?P<angle>[^»\n]{1,200})»"
    r"|(?<=`)(?P<code>[^`\n]{1,200})`"
    r"|(?<=\*)(?<![\w*].)(?P<star>[^*\s][^*\n]{0,200}?)\*(?![\w*])"
    r"|(?<=[‘'])(?<!\w.)(?P<single>[^\s'’][^'’\n]{0,200})['’](?!\w)"
    r")"
)
"""Quoted or marked text. Its first character stands at the head of the pattern, so that the search jumps to such characters."""

STOP = re.compile(r"[.!?。！？](?<![.!?。！？]{2})[.!?。！？]*[\"”’')\]*]*(?:\s+|(?<=[。！？]))")
"""From the first stop of a sentence's end on; here too, a character stands at the head of the pattern."""
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|vs|etc|cf|approx|resp|incl|no|fig|dr|mr|ms|st)|(?<!\w)[A-Za-z])\.$", re.IGNORECASE)
HEADING = re.compile(r"[ \t]*(?:#{1,6}[ \t]|\*\*[^*]+\*\*[ \t]*:?[ \t]*$|\*\*[^*]+:\*\*[ \t]*$)")
TABLE_HEAD = re.compile(r"[ \t]*\|[^\n]*\n[ \t]*\|(?=[^\n]*--)[-:| \t]+(?:\n|$)")


class Sentence(NamedTuple):
    """One sentence or list item. `is_listed`: an item below a heading or sentence that announces candidates."""

    start: int
    end: int
    is_item: bool
    is_whole_line: bool
    is_listed: bool


def sentences(text: str, low: str, regions: Sequence[tuple[int, int]]) -> Iterator[Sentence]:
    """The sentences and list items of the regions (`low`: the text lowered); headings only announce what follows."""
    is_listed = False
    for region_start, region_end in regions:
        for line in LINE.finditer(text, region_start, region_end):
            said = line[0].strip()
            if not said:
                continue
            is_plain = said[0].isalpha() and said[1:2] not in (".", ")")  # most lines: none of the marks that follow
            if not is_plain and (RULE_OR_FENCE.match(line[0]) or TABLE_HEAD.match(text, line.start(), region_end)):
                continue
            bullet = None if is_plain else BULLET.match(text, line.start(), line.end())
            if not is_plain and HEADING.match(line[0]):
                announces = _announces_list(low[line.start() : line.end()], is_heading=True)
                if announces is not None or line[0].lstrip().startswith("#"):
                    is_listed = bool(announces)
                    continue
            start, end = trimmed(text, bullet.end() if bullet else line.start(), line.end())
            if end <= start:
                continue
            spans = [(start, end)] if bullet else list(_sentence_spans(text, start, end))
            for first, last in spans:
                opens = _announces_list(low[first:last])
                if bullet is None and (opens is not None or len(spans) > 1 or looks_like_sentence(text[first:last])):
                    is_listed = bool(opens)
                yield Sentence(first, last, bullet is not None, len(spans) == 1, is_listed and opens is None)


def _announces_list(low: str, is_heading: bool = False) -> bool | None:
    """True: candidates follow; False: something else follows; None: the line announces nothing."""
    is_lead = low.rstrip(" *_").endswith((":", "："))
    if not is_lead and not is_heading:
        return None
    if SHORTLIST_CUE.pattern.search(low):
        return True
    return False if is_lead or REFINE_CUE.pattern.search(low) or REFINE_HEADING.search(low) else None


def _sentence_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Those of a line without white space at its ends."""
    stops = list(STOP.finditer(text, start, end))
    if not stops or stops[0].end() >= end:
        yield start, end
        return
    quoted = Taken(start, end, ((match.start() + 1, match.end() - 1) for match in MARKED.finditer(text, start, end)))
    first = start
    for stop in stops:
        if quoted.touches(stop.start(), stop.start() + 1):
            continue
        if ABBREVIATION.search(text, max(first, stop.start() - 8), stop.start() + 1):
            continue
        span = trimmed(text, first, stop.end())
        if span[1] > span[0]:
            yield span
        first = stop.end()
    span = trimmed(text, first, end)
    if span[1] > span[0]:
        yield span
