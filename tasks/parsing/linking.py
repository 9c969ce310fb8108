"""Mentions to labels, rung by rung: id, exact name, normalised name, fuzzy name, nearest vector. Each distinct text once."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process
from sklearn.feature_extraction.text import CountVectorizer

from tasks.labels.search import NO_LABEL, LabelIndex, Vectors
from tasks.parsing.drafts import UNLINKED, Link
from tasks.parsing.names import Catalogue, normalise

FUZZY_BLOCK = 64
"""Mentions a sparse product: 64 against 63,000 labels stay below 50 MB."""

WORD_SIMILARITY = 60.0
"""Least similarity (0 to 100) of every word of a fuzzy mention to some word of the name: `-doc` does not link to `-dev`."""

DIGITS = re.compile(r"\d+")


class FuzzyNames:
    """Names by spelling: those that share enough character trigrams are compared, the others cannot be close."""

    def __init__(self, names: dict[str, int]) -> None:
        """Index normalised names, each with its label."""
        self._names = list(names)
        self._label_ids = list(names.values())
        self._lengths = np.array([len(name) for name in self._names])
        self._trigrams = CountVectorizer(analyzer="char", ngram_range=(3, 3), lowercase=False, binary=True, dtype=np.int32)
        self._matrix = self._trigrams.fit_transform(_padded(self._names)).T.tocsr()

    def link(self, texts: Sequence[str], threshold: float) -> dict[str, Link]:
        """The texts with one best name of at least `threshold` similarity (rapidfuzz ratio / 100) and no equal rival.

        A link also needs the same numbers on both sides, and no word that is foreign to the name.
        """
        links: dict[str, Link] = {}
        for start in range(0, len(texts), FUZZY_BLOCK):
            block = texts[start : start + FUZZY_BLOCK]
            keys = [normalise(text) for text in block]
            shared = self._trigrams.transform(_padded(keys)) @ self._matrix
            for row, (text, key) in enumerate(zip(block, keys, strict=True)):
                part = slice(shared.indptr[row], shared.indptr[row + 1])
                near = self._close(key, shared.indices[part], shared.data[part], threshold)
                link = self._best(key, near, threshold)
                if link is not None:
                    links[text] = link
        return links

    def _close(self, key: str, rows: NDArray[np.int32], shared: NDArray[np.int32], threshold: float) -> NDArray[np.int32]:
        """Rows of names that can reach the threshold.

        A ratio of t allows (1 - t)(a + b) insertions and deletions over lengths a and b, each breaks three trigrams, and
        b is at most a (2 - t) / t.
        """
        trigram_count = len({key[i : i + 3] for i in range(len(key) - 2)}) + 2
        most_changes = int((1 - threshold) * len(key) * 2 / max(threshold, 0.5) + 1e-6)
        is_near = shared >= trigram_count - 3 * most_changes
        rows, shared = rows[is_near], shared[is_near]
        changes = ((1 - threshold) * (len(key) + self._lengths[rows]) + 1e-6).astype(np.int64)
        is_near = (np.abs(self._lengths[rows] - len(key)) <= changes) & (shared >= trigram_count - 3 * changes)
        return np.asarray(rows[is_near], dtype=np.int32)

    def _best(self, key: str, near: NDArray[np.int32], threshold: float) -> Link | None:
        if not len(near):
            return None
        names = [self._names[i] for i in near.tolist()]
        scores = process.cdist([key], names, scorer=fuzz.ratio, score_cutoff=100 * threshold, dtype=np.float32)[0]
        best = float(scores.max())
        winners = {self._label_ids[near[i]]: names[i] for i in np.flatnonzero(scores == best).tolist()} if best else {}
        if len(winners) != 1:
            return None
        label_id, name = winners.popitem()
        return Link(label_id, "fuzzy", best / 100) if _is_same_name(key, name) else None


def _padded(keys: Sequence[str]) -> list[str]:
    return [f"\x02{key}\x03" for key in keys]


def _is_same_name(key: str, name: str) -> bool:
    if sorted(DIGITS.findall(key)) != sorted(DIGITS.findall(name)):
        return False
    words = process.cdist(key.split(), name.split(), scorer=fuzz.ratio, dtype=np.float32)
    return bool((words.max(axis=1) >= WORD_SIMILARITY).all())


@dataclass(frozen=True)
class NearestLabels:
    """The last rung: a text's embedding against the label vectors."""

    embed: Callable[[Sequence[str]], Vectors]
    index: LabelIndex

    def link(self, texts: Sequence[str], threshold: float) -> dict[str, Link]:
        """The texts whose nearest label has at least `threshold` cosine."""
        if not texts:
            return {}
        ranking = self.index.search(self.embed(texts), 1)
        links: dict[str, Link] = {}
        for text, label_id, cosine in zip(texts, ranking.label_ids[:, 0].tolist(), ranking.scores[:, 0].tolist(), strict=True):
            if label_id != NO_LABEL and cosine >= threshold:
                links[text] = Link(label_id, "vector", min(max(cosine, 0.0), 1.0))
        return links


class MentionLinker:
    """The ladder; remembers every text it linked or could not link."""

    def __init__(self, catalogue: Catalogue, nearest: NearestLabels, fuzzy_threshold: float, vector_threshold: float) -> None:
        """Take the label names, the label vectors and the two thresholds; the fuzzy index is built at its first use."""
        self.catalogue = catalogue
        self._nearest = nearest
        self._fuzzy_threshold = fuzzy_threshold
        self._vector_threshold = vector_threshold
        self._fuzzy: FuzzyNames | None = None
        self._links: dict[str, Link] = {}

    def link(self, texts: Iterable[str], takes_ids: bool = False) -> dict[str, Link]:
        """A link for every text; what no rung links gets `UNLINKED`; `takes_ids`: `[12]` and `12` are label numbers."""
        by_name = {text: self.catalogue.lookup(text, takes_ids) for text in dict.fromkeys(texts)}
        self._climb([text for text, link in by_name.items() if link is None and text not in self._links])
        return {text: self._links[text] if link is None else link for text, link in by_name.items()}

    def _climb(self, texts: list[str]) -> None:
        wordy = [text for text in texts if normalise(text)]
        if wordy and self._fuzzy is None:
            self._fuzzy = FuzzyNames(self.catalogue.keys)
        links = self._fuzzy.link(wordy, self._fuzzy_threshold) if self._fuzzy else {}
        links |= self._nearest.link([text for text in wordy if text not in links], self._vector_threshold)
        self._links |= {text: links.get(text, UNLINKED) for text in texts}
