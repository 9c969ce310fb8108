"""The part of a chat teacher's text that gives its final answers, as a text of its own that reads like the teacher's.

Where it begins follows from what was read in the trace: behind the last candidate and argument, at what opens the first answer.
"""

import json
import re
from dataclasses import dataclass
from typing import Literal, get_args

from tasks.sequences.chat import Response
from tasks.sequences.traces import Place, Step, Trace

Reason = Literal[
    "the trace has no final answer",
    "final answers stand in the reasoning and in the completion",
    "candidates or arguments stand behind the first final answer",
    "nothing opens the final answers: no key of whole JSON, no tag",
]
NO_ANSWER, TWO_COLUMNS, REASONING_BEHIND, NO_OPENING = get_args(Reason)

HEADING = "Answer:"
"""What prose is asked to head its final answers with; a list without any heading gets it, for alone it is read as no answer."""

KEY = re.compile(r'(?<!\\)"(?:[^"\\\n]|\\.)*"\s*:\s*')
BRACKET = re.compile(r"[\[{]")
TAG = re.compile(r"<\s*(?:answers?|labels|final(?:_answer)?)\b[^<>]*>", re.IGNORECASE)
CLOSING_TAG = re.compile(r"<\s*/\s*\w+\s*>")
HEADED = re.compile(r"[ \t>]*(?:#+[ \t].*|\*\*.*\*\*[ \t]*|.*[:：][*_ \t]*)$")
LEADS_IN = re.compile(
    r"\W*(?:(?:so|my|the|final|chosen)\W+){0,3}(?:answers?|labels?|tags?|selection|list|results?)\b[^:\n]{0,12}[:：][^\w\n]*$",
    re.IGNORECASE,
)
"""A heading on the line of the first answer."""

REMAINS = re.compile(r"(?:\s+|<\s*/\s*\w+\s*>|[.,;:)\]\"”])*")
"""What may follow the last argument on its line and belongs to it."""


@dataclass(frozen=True)
class Unseparable:
    """Why a trace has no part of its own that gives the final answers."""

    reason: Reason


@dataclass(frozen=True)
class _Stretch:
    """One column: its text, the end of the last argument in it, the start of the first answer and the end of the last."""

    text: str
    begun: int
    first: int
    last: int


def find_answer_section(trace: Trace, response: Response) -> str | Unseparable:
    """The final answers as the teacher wrote them, without any candidate or argument; or why there is no such part.

    Of JSON the key that holds them, as an object; of tags the section from its tag to its closing tag; of prose what stands from
    the heading or the line of the first answer on.

    Args:
        trace: places of candidates, steps and answers.
        response: the trace as the teacher wrote it.
    """
    found = _stretch(trace, response)
    if isinstance(found, Unseparable):
        return found
    if trace.answer_format == "json":
        return _of_json(found)
    return _of_tags(found) if trace.answer_format == "tagged" else _of_prose(found)


def _stretch(trace: Trace, response: Response) -> _Stretch | Unseparable:
    sources = {place.source for place in trace.answers}
    if len(sources) != 1:
        return Unseparable(TWO_COLUMNS if sources else NO_ANSWER)
    (source,) = sources
    text = (response.reasoning_text if source == "reasoning_text" else response.completion_text) or ""
    first, last = min(place.start for place in trace.answers), max(place.end for place in trace.answers)
    reasoning: list[Place | Step] = [*trace.shortlist, *(step for step in trace.steps if step.phase != "answer")]
    shift = response.shift_of(source)
    begun = max((response.shift_of(one.source) + one.end for one in reasoning), default=0) - shift
    return Unseparable(REASONING_BEHIND) if begun > first else _Stretch(text, max(begun, 0), first, last)


def _of_json(found: _Stretch) -> str | Unseparable:
    """The first key, else the first bracket, behind the arguments whose whole value holds every answer."""
    text = found.text
    try:
        for key in KEY.finditer(text, found.begun, found.first):
            end = _value_end(text, key.end())
            if end >= found.last:
                return "{" + text[key.start() : end] + "}"
        for bracket in BRACKET.finditer(text, found.begun, found.first):
            end = _value_end(text, bracket.start())
            if end >= found.last:
                return text[bracket.start() : end]
    except RecursionError:
        pass  # a runaway of brackets: the next one would be as deep
    return Unseparable(NO_OPENING)


def _value_end(text: str, start: int) -> int:
    """One past the JSON value that begins here; -1 if none does, or it is not whole. Raises RecursionError if it is too deep."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, start)[1]
    except ValueError:
        return -1


def _of_tags(found: _Stretch) -> str | Unseparable:
    opened = list(TAG.finditer(found.text, found.begun, found.first))
    if not opened:
        return Unseparable(NO_OPENING)
    closing = CLOSING_TAG.search(found.text, found.last)
    return found.text[opened[-1].start() : closing.end() if closing else len(found.text)]


def _of_prose(found: _Stretch) -> str:
    text = found.text
    start = text.rfind("\n", found.begun, found.first) + 1
    if not start:
        remains = REMAINS.match(text, found.begun, found.first)
        start = remains.end() if remains else found.begun
    above = text[found.begun : start].rstrip()
    line = above.rfind("\n") + 1
    if HEADED.match(above, line):
        return text[found.begun + line :]
    return text[start:] if LEADS_IN.match(text, start, found.first) else f"{HEADING}\n{text[start:]}"
