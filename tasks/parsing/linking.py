"""Mentions to labels, rung by rung: id, exact name, normalised name, fuzzy name, nearest vector. Each distinct text once."""

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from tasks.labels.search import NO_LABEL, LabelIndex, Vectors
from tasks.parsing.drafts import UNLINKED, Link
from tasks.parsing.names import Catalogue, NameParts, head_of, normalise
from tasks.parsing.near_names import NearNames
from tasks.parsing.spelling import DIGITS, WordMatcher, similar_words, spelling_similarity

NEAR_COUNT = 30
"""Names of most shared trigrams that are compared word by word."""

LEAST_LEAD = 0.02
"""A link leads the next label by so much: twins are left alone."""

PART_MARK = re.compile(r":\s+|\s+[-–—]+\s+|\s+\(")
"""Between the two parts of a name as people write it: `vim: editor`, `editor - vim`, `editor (vim)`."""

HEAD_WEIGHT, SAID_WEIGHT = 0.5, 0.75
"""A name in two parts is as close as its head is spelt, and as the rest agrees; there what is said counts three times as
much as what is left out. From .3 to .7 and .6 to .9 recall of edited Debian names moves by .02 and precision by .001."""

Words = tuple[str, ...]


class Said(NamedTuple):
    """A text's normalised words, and how it is written.

    `orders`: its two halves at its first and at its last mark, each half taken as the head; `is_headed`: it has a part before
    `: `; `is_joined`: several words without a space between them, such as `vim-gtk`, which are a name and no description.
    """

    words: Words
    orders: tuple[tuple[Words, Words], ...]
    is_headed: bool
    is_joined: bool

    @classmethod
    def of(cls, text: str) -> "Said":
        """Read a text."""
        words = _words(text)
        marks = list(PART_MARK.finditer(text))
        cuts = dict.fromkeys((_words(text[: mark.start()]), _words(text[mark.end() :])) for mark in (*marks[:1], *marks[-1:]))
        pairs = tuple((left, right) for left, right in cuts if left and right)
        turned = tuple((right, left) for left, right in pairs)
        return cls(words, pairs + turned, head_of(text) is not None, len(words) > 1 and len(text.split()) == 1)


def _words(text: str) -> Words:
    return tuple(normalise(text).split())


class FuzzyNames:
    """Names by spelling, compared part by part: a typed head like the head, what follows like the tail."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Index the names of a catalogue."""
        self._catalogue = catalogue
        self._matcher = WordMatcher(catalogue.rarity, catalogue.is_word)
        keys = catalogue.keys
        self._label_ids = list(keys.values())
        self._near = NearNames(list(keys))
        self._parts: dict[int, NameParts] = {}

    def link(self, text: str, threshold: float) -> Link | None:
        """The label whose name is closest to the text, if that is `threshold` (0 to 1) close, and no other label as close."""
        best, label_id, next_best = 0.0, None, 0.0
        for near_id, closeness in self._compare_near(text).items():
            if closeness > best:
                best, label_id, next_best = closeness, near_id, best
            else:
                next_best = max(next_best, closeness)
        return Link(label_id, "fuzzy", best) if best >= threshold and best - next_best > LEAST_LEAD else None

    def _compare_near(self, text: str) -> dict[int, float]:
        said = Said.of(text)
        near = dict.fromkeys(self._label_ids[row] for row in self._near.find(" ".join(said.words), NEAR_COUNT).tolist())
        for label_id in near:
            if label_id not in self._parts:
                self._parts[label_id] = self._catalogue.parts_of(label_id)
        names = {label_id: self._parts[label_id] for label_id in near}
        words = dict.fromkeys(word for name in names.values() for word in name.head + name.tail)
        similar = similar_words(said.words, list(words))
        return {label_id: self._closeness(said, name, similar) for label_id, name in names.items()}

    def _closeness(self, said: Said, name: NameParts, similar: Sequence[AbstractSet[str]]) -> float:
        """How close a text comes to a name; `similar`: for each word of the text, the words of near names that it may be."""
        found = [self._spelt(said.words, name.head)] if name.has_own_head else []
        found += [self._in_two_parts(head, tail, name) for head, tail in said.orders if name.tail]
        whole = name.head + name.tail
        if not said.is_joined and any(words.isdisjoint(whole) for words in similar):
            return max(found, default=0.0)  # a word of the text is foreign to the name
        compare = self._spelt if said.is_joined else self._described
        if not name.tail or not said.is_headed:
            found.append(compare(said.words, whole))
        if name.has_own_tail and not said.is_headed:
            found.append(compare(said.words, name.tail))
        return max(found, default=0.0)

    def _in_two_parts(self, head: Words, tail: Words, name: NameParts) -> float:
        spelt = self._spelt(head, name.head)
        if not spelt:
            return 0.0
        rest = self._matcher.compare(tail, name.tail)
        return HEAD_WEIGHT * spelt + (1 - HEAD_WEIGHT) * (SAID_WEIGHT * rest.said_frac + (1 - SAID_WEIGHT) * rest.named_frac)

    def _spelt(self, words: Words, name_words: Words) -> float:
        """Closeness of the spelling of the same words in the same number, or of one word written as two."""
        if "".join(words) == "".join(name_words):
            return 1.0
        similarity = spelling_similarity(words, name_words) if len(words) == len(name_words) else 0.0
        if not similarity:
            return 0.0
        agreement = self._matcher.compare(words, name_words, allows_foreign=False)
        return 0.0 if agreement.is_foreign or agreement.is_missing else similarity

    def _described(self, words: Words, name_words: Words) -> float:
        """Closeness of a text whose every word is one of the name's."""
        agreement = self._matcher.compare(words, name_words, allows_foreign=False)
        return 0.0 if agreement.is_foreign else min(agreement.said_frac, agreement.named_frac)


@dataclass(frozen=True)
class NearestLabels:
    """The last rung: a text's embedding against the label vectors; `may_be_near` tells which texts are worth one, if given."""

    embed: Callable[[Sequence[str]], Vectors]
    index: LabelIndex
    may_be_near: Callable[[str], bool] | None = None

    def link(self, texts: Sequence[str], threshold: float, lead: float) -> dict[str, Link]:
        """The texts whose nearest label has at least `threshold` cosine, and `lead` more than the next label's."""
        texts = [text for text in texts if self.may_be_near is None or self.may_be_near(text)]
        if not texts:
            return {}
        ranking = self.index.search(self.embed(texts), 2)
        links: dict[str, Link] = {}
        for text, label_id, (cosine, next_best) in zip(
            texts, ranking.label_ids[:, 0].tolist(), ranking.scores.tolist(), strict=True
        ):
            if label_id != NO_LABEL and cosine >= threshold and cosine - next_best >= lead:
                links[text] = Link(label_id, "vector", min(max(cosine, 0.0), 1.0))
        return links


@dataclass(frozen=True)
class Thresholds:
    """Least closeness of a fuzzy link, least cosine of a vector link, and its least lead over the next label's cosine."""

    fuzzy: float
    vector: float
    vector_lead: float


class MentionLinker:
    """The ladder; remembers every text it linked or could not link."""

    def __init__(
        self, catalogue: Catalogue, nearest: NearestLabels, thresholds: Thresholds, fuzzy: FuzzyNames | None = None
    ) -> None:
        """Take the label names and the label vectors; the fuzzy index is built at its first use if it is not given."""
        self.catalogue = catalogue
        self._nearest = nearest
        self._thresholds = thresholds
        self._fuzzy = fuzzy
        self._links: dict[str, Link] = {}

    def link(self, texts: Iterable[str], takes_ids: bool = False) -> dict[str, Link]:
        """A link for every text; what no rung links gets `UNLINKED`; `takes_ids`: `[12]` and `12` are label numbers."""
        by_name = {text: self.catalogue.lookup(text, takes_ids) for text in dict.fromkeys(texts)}
        self._climb([text for text, link in by_name.items() if link is None and text not in self._links])
        return {text: self._links[text] if link is None else link for text, link in by_name.items()}

    def _climb(self, texts: list[str]) -> None:
        links = {text: self.catalogue.lookup_loosely(text) if normalise(text) else UNLINKED for text in texts}
        links |= {text: self._by_spelling(text) for text, link in links.items() if link is None}
        described = [text for text, link in links.items() if link is None and is_description(text)]
        nearest = self._nearest.link(described, self._thresholds.vector, self._thresholds.vector_lead)
        links |= {text: link for text, link in nearest.items() if self._has_numbers_of(text, link)}
        self._links |= {text: link or UNLINKED for text, link in links.items()}

    def _has_numbers_of(self, text: str, link: Link) -> bool:
        name = self.catalogue.parts_of(link.label_id) if link.label_id is not None else None
        return name is not None and set(DIGITS.findall(normalise(text))) <= set(DIGITS.findall(" ".join(name.head + name.tail)))

    def _by_spelling(self, text: str) -> Link | None:
        self._fuzzy = self._fuzzy or FuzzyNames(self.catalogue)
        return self._fuzzy.link(text, self._thresholds.fuzzy)


def is_description(text: str) -> bool:
    """True for running words, which may say what a label means; `vim-gtk` and `vim: editor` are names, which are spelt."""
    return head_of(text) is None and (len(text.split()) > 1 or text.strip().isalpha())
