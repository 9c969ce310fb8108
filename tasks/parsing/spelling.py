"""How close the words of a text come to the words of a name: the same word, another number, cut short, mistyped, or foreign."""

import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import OSA

DIGITS = re.compile(r"\d+")
LEAST_SIMILARITY = 0.6
"""Words that differ more are different words: one letter in three may be wrong, two in five."""

OTHER_NUMBER, CUT_SHORT = 0.95, 0.8
"""Similarity of `libraries` to `library`, and of `docs` or `doc` to `documentation`."""

SHORTEST_CUT = 3


@dataclass(frozen=True)
class Agreement:
    """Two word lists compared; shares are 0 to 1, weighted by how rare the words are.

    `said_frac`: the words of the text that the name has; `named_frac`: those of the name that the text has; `is_foreign`: some
    word of the text is none of the name's; `is_missing`: some word of the name is not in the text.
    """

    said_frac: float
    named_frac: float
    is_foreign: bool
    is_missing: bool


SAME = Agreement(1.0, 1.0, False, False)
NOTHING = Agreement(0.0, 0.0, True, True)


class WordMatcher:
    """Compares word lists; `is_word` tells words of the catalogue, which are no mistyped ones."""

    def __init__(self, rarity: Callable[[str], float], is_word: Callable[[str], bool]) -> None:
        """Take the weight of a word, and whether some label uses it."""
        self._rarity = rarity
        self._is_word = is_word

    def compare(self, words: Sequence[str], name_words: Sequence[str], allows_foreign: bool = True) -> Agreement:
        """How much of the text is in the name, and of the name in the text, in any order.

        Args:
            words: of the text.
            name_words: of the name.
            allows_foreign: if not, a foreign word ends the comparison with `NOTHING`.
        """
        if words == name_words:
            return SAME
        if not words or not name_words:
            return NOTHING
        odd, missing = set(words) - set(name_words), set(name_words) - set(words)
        said: dict[str, tuple[float, str]] = {}
        named = dict.fromkeys(missing, 0.0)
        for word in odd:
            close = [(self.similarity(word, other), other) for other in missing]
            said[word] = max(close, default=(0.0, word))
            if not said[word][0]:
                if not allows_foreign:
                    return NOTHING
                said[word] = (0.0, word)
            named.update((other, similarity) for similarity, other in close if similarity > named[other])
        return Agreement(
            self._share([said.get(word, (1.0, word)) for word in words]),
            self._share([(named.get(word, 1.0), word) for word in name_words]),
            any(not similarity for similarity, _ in said.values()),
            not all(named.values()),
        )

    def _share(self, found: Sequence[tuple[float, str]]) -> float:
        weights = [self._rarity(word) for _, word in found]
        return sum(weight * similarity for weight, (similarity, _) in zip(weights, found, strict=True)) / sum(weights)

    def similarity(self, word: str, other: str) -> float:
        """Of two different words, 0 to 1: a text's word and a name's word; 0 where they are different words, or numbers."""
        similarity = OSA.normalized_similarity(word, other, score_cutoff=LEAST_SIMILARITY)
        if not similarity and not other.startswith(word[:SHORTEST_CUT]):
            return 0.0
        if not (word.isalpha() and other.isalpha()) and DIGITS.findall(word) != DIGITS.findall(other):
            return 0.0
        if _is_plural(word, other) or _is_plural(other, word):
            return OTHER_NUMBER
        stem = word.removesuffix("s")
        if len(stem) >= SHORTEST_CUT and other.startswith(stem) and len(other) > len(word) + 1:
            return CUT_SHORT
        return 0.0 if self._is_word(word) else similarity


def similar_words(words: Sequence[str], others: Sequence[str]) -> list[AbstractSet[str]]:
    """For each word those of the others that it may be: itself, and whatever `WordMatcher.similarity` may find similar to it.

    A text is compared with dozens of names, of which most lack one of its words.
    """
    similar: list[AbstractSet[str]] = []
    by_cut: dict[str, list[str]] = {}
    for other in others:
        by_cut.setdefault(other[:SHORTEST_CUT], []).append(other)
    for word in words:
        spelt = process.extract(word, others, scorer=OSA.normalized_similarity, score_cutoff=LEAST_SIMILARITY, limit=None)
        is_short = len(word) < SHORTEST_CUT
        begun = [other for other in others if other.startswith(word)] if is_short else by_cut.get(word[:SHORTEST_CUT], [])
        similar.append({*(other for other, _, _ in spelt), *begun})
    return similar


def spelling_similarity(words: Sequence[str], name_words: Sequence[str]) -> float:
    """1 less the letters left out, added, wrong or exchanged, as a part of the longer text; 0 below `LEAST_SIMILARITY`."""
    return OSA.normalized_similarity(" ".join(words), " ".join(name_words), score_cutoff=LEAST_SIMILARITY)


def _is_plural(word: str, singular: str) -> bool:
    return word in (f"{singular}s", f"{singular}es") or (word.endswith("ies") and f"{word[:-3]}y" == singular)
