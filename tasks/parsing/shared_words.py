"""Whether a text may be near a label at all: a cosine that links it needs words that both use, and counting those is cheap."""

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from tasks.parsing.names import normalise

LEAST_SHARED = 0.45
"""Weight of the words that a text shares with one label, as a part of all words of both. Of described Debian labels that the
last rung links, 29 in 30 share more; of four words drawn from all names, a quarter do."""


class SharedWords:
    """An inverted index of the words of some texts, each word weighted by how rare it is."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Index label names and descriptions, each as a text of its own; 20 microseconds a text."""
        counts = CountVectorizer(analyzer=str.split, dtype=np.int32, binary=True)
        # Without a word, one that no normalised text has: nothing is shared.
        matrix = counts.fit_transform([*(key for text in texts if (key := normalise(text))), "\x00"]).tocsc()
        self._columns: dict[str, int] = {word: int(column) for word, column in counts.vocabulary_.items()}
        self._rows, self._starts = matrix.indices, matrix.indptr
        self._counts = np.diff(matrix.indptr)
        self._weights = np.log(1 + len(texts) / self._counts)
        self._totals = np.asarray(matrix @ self._weights).ravel()
        self._unknown_weight = float(np.log(1 + len(texts)))

    def most_shared(self, text: str) -> float:
        """The words a text shares with the indexed text it shares most with, as a part of all words of both: 0 to 1."""
        words = dict.fromkeys(normalise(text).split())
        columns = np.array([self._columns[word] for word in words if word in self._columns], dtype=np.int64)
        if not len(columns):
            return 0.0
        weight = self._weights[columns].sum() + self._unknown_weight * (len(words) - len(columns))
        rows = np.concatenate([self._rows[self._starts[column] : self._starts[column + 1]] for column in columns])
        shared = np.bincount(rows, weights=np.repeat(self._weights[columns], self._counts[columns]))
        return float((2 * shared / (weight + self._totals[: len(shared)])).max())

    def may_be_near(self, text: str) -> bool:
        """True if a text is worth an embedding: it shares enough words with one indexed text, or most of its words are in none.

        Words that many labels use, but no label together, name nothing; of words that are new nothing can be said.
        """
        words = normalise(text).split()
        known = sum(word in self._columns for word in words)
        return 2 * known <= len(words) or self.most_shared(text) >= LEAST_SHARED
