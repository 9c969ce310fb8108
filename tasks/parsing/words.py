"""A text cut into words, folded, with their places: once for a whole text, of which each sentence takes its own words."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import NamedTuple

TOKEN = re.compile(r"([^\W_]+(?:\+\+|#)?)")
ASCII_TOKEN = re.compile(r"([a-zA-Z0-9]+(?:\+\+|#)?)")
"""The same in ASCII text, three times as fast."""


class Words(NamedTuple):
    """The words of a stretch of text: `lows` in lower case, `folded` in one case and one Unicode form, and their characters."""

    lows: list[str]
    folded: list[str]
    starts: list[int]
    ends: list[int]

    def within(self, start: int, end: int) -> tuple[int, int] | None:
        """The first word of a region and the one after its last; None if the region cuts a word in two."""
        first, last = bisect_left(self.starts, start), bisect_right(self.ends, end)
        if (first and self.ends[first - 1] > start) or (last < len(self.starts) and self.starts[last] < end):
            return None
        return first, max(first, last)


def token_of(text: str) -> re.Pattern[str]:
    """What a word is in this text."""
    return ASCII_TOKEN if text.isascii() else TOKEN


def fold(text: str) -> str:
    """The text in one case and one Unicode form (NFKC)."""
    if text.isascii():
        return text.casefold()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def words_of(text: str, start: int, end: int) -> Words:
    """The words of a region."""
    region = text[start:end]
    parts = token_of(text).split(region.lower() if text.isascii() else region)  # what is between words, a word, and so on
    places = list(accumulate(map(len, parts), initial=start))
    words = parts[1::2]
    lows = words if text.isascii() else [word.lower() for word in words]
    folded = words if text.isascii() else [fold(word) for word in words]
    return Words(lows, folded, places[1:-1:2], places[2::2])
