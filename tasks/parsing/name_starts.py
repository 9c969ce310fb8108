"""Where in running text names may begin, by their first two words: for a whole text at once, before any name is looked up."""

from collections.abc import Iterable
from sys import intern
from typing import NamedTuple

from tasks.parsing.words import Words

JOINERS = "-_.+@:"
"""Between two word characters these make one name: `vim` is not named in `vim-gtk`."""


ANY = ""
"""In place of a second word: whatever it is."""


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
        only: dict[str, tuple[int, ...]] = {ANY: (1,)}
        self._seconds = {intern(word): only for word in alone}
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        for first, seconds in widths.items():
            own = only if first in alone else {}
            counts = {second: (*sorted(found, reverse=True), *own.get(ANY, ())) for second, found in seconds.items()}
            self._seconds[first] = own | {second: shared.setdefault(found, found) for second, found in counts.items()}

    def starts(self, words: Words) -> NameStarts:
        """Those of the words that may begin a name."""
        begun = ((place, seconds) for place, seconds in enumerate(map(self._seconds.get, words.folded)) if seconds)
        nexts = [*words.folded[1:], ANY]
        starts = [(place, found) for place, seconds in begun if (found := seconds.get(nexts[place]) or seconds.get(ANY))]
        return NameStarts(words, [place for place, _ in starts], [counts for _, counts in starts])


def stands_alone(text: str, words: Words, first: int, after: int, reach: tuple[int, int]) -> bool:
    """No joiner ties the name of these words to a word before or after it, of those within reach."""
    if first > reach[0] and not text[words.ends[first - 1] : words.starts[first]].strip(JOINERS):
        return False
    return after >= reach[1] or bool(text[words.ends[after - 1] : words.starts[after]].strip(JOINERS))
