"""Answers of a runaway teacher: time grows with their length, not with its square."""

import json
import time

import pytest

from tests.unit.parsing.reading import read

CHARS = 20_000
LIMIT_S = 1.0
"""Reading takes some 3 microseconds a character; what was quadratic took up to 5 s for so many."""

PIECES = (
    "{", "[", '"', "<think>", "</think>", "<shortlist>", "<step>", "<answer>vim</answer>", '{"answer":', '{"a":1}', " ", "\t",
    ".", "*", "'", "`", ", ", "- ", "[3]", "Answer:\n", "I keep vim, but drop nano, ", " and ", " but ", "a: ", "\n", "\x00", "a",
)  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_one_piece_over_and_over_is_read_in_good_time(piece: str) -> None:
    text = f"Candidates: vim, nano{piece * (CHARS // len(piece))}x"
    started = time.monotonic()
    read(text)
    assert time.monotonic() - started < LIMIT_S


def test_many_unknown_labels_are_read_in_good_time() -> None:
    names = [f"gizmo{i} part" for i in range(1000)]
    prose = "Candidates:\n" + "".join(f"- {name}\n" for name in names) + "".join(f"I keep {name}.\n" for name in names)
    whole = json.dumps({"shortlist": names, "steps": [f"{name} fits." for name in names], "answer": names})
    started = time.monotonic()
    for text in (prose, whole):
        read(text)
    assert time.monotonic() - started < LIMIT_S
