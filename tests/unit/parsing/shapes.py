"""Answers of a runaway teacher, of any length, each of one nasty shape; and how time grows with their length."""

import gc
import json
import time
from collections.abc import Callable

from tests.unit.parsing.reading import assert_sound, read


def _many(piece: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda size: before + piece * (size // len(piece) + 1) + after


def _numbered(before: str, *lines: str) -> Callable[[int], str]:
    """A number of its own in every line, all lines of the first kind first."""
    each = sum(map(len, lines))
    return lambda size: before + "".join(line.format(i=i) for line in lines for i in range(size // each + 1))


PIECES = (
    "{", "[", '"', "<", ">", "> ", "<think>", "</think>", "<shortlist>", "<step>", "<answer>vim <step> nano ",
    "<answer>vim</answer>", '{"answer":', '{"answer": [', '{"a":1}', '{"answer": ["vim"]} ', " ", "\t", ".", "!", "*", "_",
    "'", "`", "-", "+ ", "|", ", ", "- ", "- \n", "[3]", "[3] ", "1. ", "1", "Answer:\n", "## Answer\n", "```json\n{}\n```\n",
    "| vim | yes |\n", "| a |\n|--|\n", "I keep vim, but drop nano, ", "I keep vim. Drop nano. ", "The labels are vim\n",
    "the latter is redundant ", "vim, nano, so is ", "vim is redundant, ", "is really quite ", "What about vim? Yes. ",
    "wait, no, ", "doesn't really ", "putting a ", "the label a ", " and ", " but ", "vim and nano and ", "a: ", "vim - ",
    "vim (", "**vim** ", '"vim "nano', "“vim ", "'vim' ", "vim ", "vim\n", "vim\r\n", "- vim\n- nano\n", "lorem ipsum ",
    "e.g. ", "\n", "\x00", "a", "\ud800", "\u200d", "\u0301", "\u202evim\u202c ", "İ", "😀",
)  # fmt: skip
SHAPES: dict[str, Callable[[int], str]] = {
    **{f"{piece!r} over and over": _many(piece, "Candidates: vim, nano", "x") for piece in PIECES},
    "brackets in brackets": lambda size: '{"answer": ' + "[" * (size // 2) + "]" * (size // 2) + "}",
    "tags in tags": lambda size: "<answer><step>" * (size // 28) + "</step></answer>" * (size // 28),
    "an unclosed string": _many("vim, ", '{"answer": ["'),
    "a string of escapes": _many('\\\\\\"', '{"answer": ["'),
    "commas alone": _many(",", "Answer: "),
    "one label by commas": _many("vim,", "Answer: "),
    "a JSON list of one label": lambda size: json.dumps({"shortlist": ["vim"] * (size // 16), "answer": ["vim"] * (size // 16)}),
    "one JSON key": _many('"answer": ["vim"], ', "{", '"a": 1}'),
    "JSON steps": _many('{"label": "vim", "verdict": "keep"}, ', '{"answer": ["vim"], "steps": [', "]}"),
    "tagged steps": _many("<step>vim: keep</step>", "<reasoning>", "</reasoning><answer>vim</answer>"),
    "a tagged list": _many("vim\n", "<shortlist>\n", "</shortlist><answer>vim</answer>"),
    "unknown labels": _numbered("Answer:\n", "- gizmo {i} thing\n"),
    "unknown labels, judged": _numbered("Candidates:\n", "- gizmo{i} thing\n", "I drop gizmo{i} thing.\n"),
    "unknown labels in JSON steps": _numbered('{"answer": ["vim"], "steps": [', '"gizmo{i} it is.", '),
}  # fmt: skip

MOST_GROWTH = 6.0
"""Four times the text may take so many times as long: 4, and what a busy machine adds."""


def reading_time(text: str) -> float:
    """CPU seconds of reading a text, which is found sound."""
    gc.disable()
    try:
        started = time.process_time()
        draft = read(text)
        spent = time.process_time() - started
    finally:
        gc.enable()
    assert_sound(draft, text, "")
    return spent


def assert_linear(shape: Callable[[int], str], size: int, floor_s: float) -> None:
    """Reading four times as much takes at most six times as long; times below the floor count as the floor."""
    short, long = shape(size)[:size], shape(4 * size)[: 4 * size]
    assert reading_time(long) < MOST_GROWTH * max(floor_s, reading_time(short))
