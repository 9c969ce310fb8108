"""The places where cues may begin: searching them finds what searching all of the text finds."""

import re
import re._parser as regex  # type: ignore[import-not-found]  # private: the only parser of patterns there is
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.parsing.cue_search import LETTERS, Cue
from tasks.parsing.cues import CUES, cue_text, lowered

WORDS = sorted({word for cue in CUES for word in re.findall(r"[a-z']+", cue.pattern.pattern)})
TEXTS = st.lists(st.sampled_from([*WORDS, "xxx", "vim", "’s", "n't", "K", "é", "_"]), max_size=12).flatmap(
    lambda words: st.lists(
        st.sampled_from([" ", " ", ", ", ". ", "\n", "", "'", "-"]), min_size=len(words), max_size=len(words)
    ).map(lambda gaps: "".join(word + gap for word, gap in zip(words, gaps, strict=True)))
)
Tree = Any  # a parsed pattern: nested lists and tuples of the standard library


def beginnings(tree: Tree) -> set[str]:
    """The first three characters, or fewer, of everything a parsed pattern may match; `?` stands for many characters."""
    found, done = {""}, set()
    for operation, argument in tree:
        done |= {text for text in found if len(text) >= LETTERS}
        found = {text + more for text in found - done for more in _of_one(str(operation), argument, text)}
    return {text[:LETTERS] for text in found | done}


def _of_one(operation: str, argument: Tree, text: str) -> set[str]:
    if operation == "LITERAL":
        return {chr(argument)}
    if operation == "IN":
        return {chr(value) if str(kind) == "LITERAL" else " " if "SPACE" in str(value) else "?" for kind, value in argument}
    if text and str(argument) == "AT_BOUNDARY":
        return {" "}  # the word ends here
    if operation == "BRANCH":
        return set().union(*map(beginnings, argument[1]))
    if operation == "SUBPATTERN":
        return beginnings(argument[3])
    if operation.endswith("_REPEAT"):
        least, most, inner = argument
        once = beginnings(inner)
        more = {text + again for text in once for again in once} if most > 1 else set()
        return (once if least < 2 else set()) | more | ({""} if not least else set())
    return {""}  # looks around and moves nowhere


@pytest.mark.parametrize("cue", CUES, ids=lambda cue: sorted(cue.openings)[0])
def test_openings_are_all_that_a_pattern_begins_with(cue: Cue) -> None:
    words = {re.match(r"'s|n't|[a-z0-9?]*", text)[0] for text in beginnings(regex.parse(cue.pattern.pattern))}  # type: ignore[index]
    assert words == cue.openings


@given(TEXTS, st.data())
def test_search_and_findall_find_what_the_pattern_finds(text: str, data: st.DataObject) -> None:
    low = lowered(text)
    between = [0, *(at for at in range(1, len(low)) if not low[at - 1 : at + 1].isalnum()), len(low)]  # cut no word in two
    start, end = (data.draw(st.sampled_from(between)) for _ in range(2))
    searched = cue_text(low)
    for cue in CUES:
        whole, found = cue.pattern.search(low, start, end), searched.search(cue, start, end)
        assert (whole and whole.span()) == (found and found.span())
        spans = [match.span() for match in cue.pattern.finditer(low, start, end)]
        assert [match.span() for match in searched.findall(cue, start, end)] == spans
