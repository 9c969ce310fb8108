"""Where in a text cues may begin, found once by the first letters of its words: a pattern is tried there and nowhere else.

A dozen searches of every sentence by patterns of fifty phrases each were a third of all the time that reading prose took.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from sys import maxsize

from tasks.parsing.words import Words

LETTERS = 3
MOST_WORDS, LONGEST_WORD = 1 << 15, 30
"""Words whose cues are remembered, and their letters: some 3 MB."""

CONTRACTED = {"s": ("'s", 1), "t": ("n't", 2)}
"""A cue may begin inside a word: how, and so many characters before what stands after the apostrophe."""


@dataclass(frozen=True, eq=False)
class Cue:
    """A pattern of phrases, and the words these begin with: the first three letters, or all of a shorter word."""

    pattern: re.Pattern[str]
    openings: frozenset[str]

    @classmethod
    def of(cls, openings: str, pattern: str, flags: int = 0) -> "Cue":
        """A cue whose openings stand in one text."""
        return cls(re.compile(pattern, flags), frozenset(openings.split()))


Opening = tuple[int, tuple[Cue, ...]]
"""How many characters before a word cues begin, and which."""


class Openings(dict[str, Opening | None]):
    """Cues by the words they begin with; remembers words it was asked for, up to a number."""

    def __init__(self, cues: Iterable[Cue]) -> None:
        """Take all cues."""
        super().__init__()
        found: dict[str, list[Cue]] = {}
        for cue in cues:
            for opening in cue.openings:
                found.setdefault(opening, []).append(cue)
        contracted = {opening: (short, back) for short, (opening, back) in CONTRACTED.items()}
        keys = {opening: contracted.get(opening, (opening, 0)) for opening in found}
        self._by_letters = {keys[opening][0]: (keys[opening][1], tuple(cues)) for opening, cues in found.items()}

    def __missing__(self, word: str) -> Opening | None:
        found = self._by_letters.get(word[:LETTERS])
        if len(self) < MOST_WORDS and len(word) <= LONGEST_WORD:
            self[word] = found
        return found


class CueText:
    """A text in lower case, with the places where each cue may begin, and one beyond its end."""

    __slots__ = ("_places", "low")

    def __init__(self, low: str, places: Mapping[Cue, list[int]]) -> None:
        """Take the text and the places; `CueText.of` finds them."""
        self.low = low
        self._places = places

    @classmethod
    def of(cls, low: str, words: Words, cues: Sequence[Cue], opened: Openings) -> "CueText":
        """Find the places by the words of the text."""
        places: dict[Cue, list[int]] = {cue: [] for cue in cues}
        begins = list(map(opened.__getitem__, words.lows))
        for start, found in zip(compress(words.starts, begins), filter(None, begins), strict=True):
            back, opening = found
            for cue in opening:
                places[cue].append(start - back)
        for begun in places.values():
            begun.append(maxsize)
        return cls(low, places)

    def over(self, low: str) -> "CueText":
        """The same places in the same text with some of its characters replaced by letters that begin no cue."""
        return CueText(low, self._places)

    def search(self, cue: Cue, start: int, end: int) -> re.Match[str] | None:
        """What `cue.pattern.search` finds in a region that cuts no word in two."""
        places = self._places[cue]
        at = bisect_left(places, start)
        while places[at] < end:
            found = cue.pattern.match(self.low, places[at], end)
            if found is not None:
                return found
            at += 1
        return None

    def findall(self, cue: Cue, start: int, end: int) -> list[re.Match[str]]:
        """What `cue.pattern.finditer` finds in a region that cuts no word in two."""
        places = self._places[cue]
        matches: list[re.Match[str]] = []
        at = bisect_left(places, start)
        while places[at] < end:
            found = cue.pattern.match(self.low, places[at], end) if places[at] >= start else None
            if found is not None:
                matches.append(found)
                start = found.end()
            at += 1
        return matches
