"""Where in running text names may begin, by their first two words: for a whole text at once, before any name is looked up."""

from collections.abc import Iterable
from sys import intern
from typing import NamedTuple

from tasks.parsing.words import Words

JOINERS = "-_.+@:"
"""Between two word characters these make one name: `vim` is not named in `vim-gtk`."""


class NameStarts(NamedTuple):
    """The words of a text, and those of them that may begin a name: their places in `words`, and how many words it may have."""

    words: Words
    places: list[int]
    counts: list[tuple[int, ...]]


class FirstWords:
    """How many words names have, by their first word where that is all of the name, else by their first two; the most first."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take normalised names."""
        self._alone: dict[str, tuple[int, ...]] = {}
        widths: dict[tuple[str, str], set[int]] = {}
        for words in map(str.split, names):
            if len(words) == 1:
                self._alone[intern(words[0])] = (1,)
            else:
                widths.setdefault((intern(words[0]), intern(words[1])), set()).add(len(words))
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        counts = ((pair, (*sorted(found, reverse=True), *self._alone.get(pair[0], ()))) for pair, found in widths.items())
        self._pairs = {pair: shared.setdefault(found, found) for pair, found in counts}

    def starts(self, words: Words) -> NameStarts:
        """Those of the words that may begin a name."""
        pairs = map(self._pairs.get, zip(words.folded, [*words.folded[1:], ""], strict=False))
        found = enumerate(zip(pairs, map(self._alone.get, words.folded), strict=True))
        starts = [(place, counts) for place, (pair, alone) in found if (counts := pair or alone)]
        return NameStarts(words, [place for place, _ in starts], [counts for _, counts in starts])


def stands_alone(text: str, words: Words, first: int, after: int, reach: tuple[int, int]) -> bool:
    """No joiner ties the name of these words to a word before or after it, of those within reach."""
    if first > reach[0] and not text[words.ends[first - 1] : words.starts[first]].strip(JOINERS):
        return False
    return after >= reach[1] or bool(text[words.ends[after - 1] : words.starts[after]].strip(JOINERS))
