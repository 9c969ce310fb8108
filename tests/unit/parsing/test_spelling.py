import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.parsing.spelling import CUT_SHORT, NOTHING, OTHER_NUMBER, SAME, WordMatcher, similar_words, spelling_similarity

MATCHER = WordMatcher(lambda word: 1.0, {"test", "tests", "river"}.__contains__)


@pytest.mark.parametrize(
    ("word", "other", "similarity"),
    [
        ("libraries", "library", OTHER_NUMBER),
        ("library", "libraries", OTHER_NUMBER),
        ("boxes", "box", OTHER_NUMBER),
        ("tests", "test", OTHER_NUMBER),
        ("docs", "documentation", CUT_SHORT),
        ("dev", "development", CUT_SHORT),
        ("documentation", "docs", 0.0),
        ("editor", "edtior", 1 - 1 / 6),
        ("de", "documentation", 0.0),
        ("river", "rover", 0.0),
        ("rivr", "river", 0.8),
        ("gtk3", "gtk4", 0.0),
        ("2001", "2010", 0.0),
        ("doc", "dev", 0.0),
    ],
)
def test_similarity_of_two_words(word: str, other: str, similarity: float) -> None:
    assert MATCHER.similarity(word, other) == pytest.approx(similarity)


def test_compare_ignores_order_and_weighs_what_is_said_and_left_out() -> None:
    found = MATCHER.compare(("big", "fast", "boat"), ("fast", "boat", "of", "wood"))
    assert (found.said_frac, found.named_frac) == pytest.approx((2 / 3, 0.5))
    assert found.is_foreign
    assert found.is_missing
    assert MATCHER.compare(("boat", "fast"), ("fast", "boat")) == SAME
    assert MATCHER.compare(("boat",), ()) == MATCHER.compare((), ("boat",)) == NOTHING


def test_compare_weighs_rare_words_more() -> None:
    matcher = WordMatcher(lambda word: 9.0 if word == "rare" else 1.0, lambda word: False)
    assert matcher.compare(("rare", "x"), ("rare",)).said_frac == pytest.approx(0.9)
    assert math.isclose(matcher.compare(("raer",), ("rare", "x")).named_frac, 0.9 * 0.75)


def test_compare_can_end_at_a_foreign_word() -> None:
    assert MATCHER.compare(("fast", "zebra"), ("fast", "boat"), allows_foreign=False) == NOTHING


@pytest.mark.parametrize(("text", "similarity"), [("abcdefgh", 1.0), ("abcdefhg", 0.875), ("abcx", 0.0)])
def test_spelling_similarity_counts_exchanged_letters_once(text: str, similarity: float) -> None:
    assert spelling_similarity((text,), ("abcdefgh",)) == pytest.approx(similarity)


@given(st.lists(st.text("abcs1", min_size=1, max_size=6), max_size=4), st.lists(st.text("abcs1", min_size=1, max_size=6)))
def test_similar_words_leaves_out_none_that_is_similar(words: list[str], others: list[str]) -> None:
    matcher = WordMatcher(lambda word: 1.0, lambda word: False)
    for word, found in zip(words, similar_words(words, others), strict=True):
        assert found >= {other for other in others if other == word or matcher.similarity(word, other)}
