"""Where in running text names may begin, by their first two words: for a whole text at once, before any name is looked up."""

from collections.abc import Iterable
from itertools import compress
from sys import intern
from typing import NamedTuple

from tasks.parsing.words import Words

JOINERS = "-_.+@:"
"""Between two word characters these make one name: `vim` is not named in `vim-gtk`."""


ANY = ""
"""In place of a second word: whatever it is."""
ALONE = (1,)
"""How many words a name of one word has."""


class NameStarts(NamedTuple):
    """The words of a text, and those of them that may begin a name: their places in `words`, and how many words it may have."""

    words: Words
    places: list[int]
    counts: list[tuple[int, ...]]


class FirstWords:
    """How many words names have, by their first word and the second where they have one; the most first."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take normalised names."""
        alone: set[str] = set()
        widths: dict[str, dict[str, set[int]]] = {}
        for words in map(str.split, names):
            if len(words) == 1:
                alone.add(words[0])
            else:
                widths.setdefault(intern(words[0]), {}).setdefault(intern(words[1]), set()).add(len(words))
        only: dict[str, tuple[int, ...]] = {ANY: ALONE}
        self._only = only
        self._seconds = {intern(word): only for word in alone}
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        for first, seconds in widths.items():
            own = only if first in alone else {}
            counts = {second: (*sorted(found, reverse=True), *own.get(ANY, ())) for second, found in seconds.items()}
            self._seconds[first] = own | {second: shared.setdefault(found, found) for second, found in counts.items()}

    def starts(self, words: Words) -> NameStarts:
        """Those of the words that may begin a name."""
        begun = list(map(self._seconds.get, words.folded))
        nexts = [*words.folded[1:], ANY]
        places, counts = [], []
        for place in compress(range(len(begun)), begun):
            seconds = begun[place] or {}
            found = ALONE if seconds is self._only else seconds.get(nexts[place]) or seconds.get(ANY)
            if found:
                places.append(place)
                counts.append(found)
        return NameStarts(words, places, counts)


def stands_alone(text: str, words: Words, first: int, after: int, reach: tuple[int, int]) -> bool:
    """No joiner ties the name of these words to a word before or after it, of those within reach."""
    start, end = words.starts[first], words.ends[after - 1]
    if first > reach[0] and text[start - 1] != " " and not text[words.ends[first - 1] : start].strip(JOINERS):
        return False
    return after >= reach[1] or text[end] == " " or bool(text[end : words.starts[after]].strip(JOINERS))
