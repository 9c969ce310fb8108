"""What the stand-in knows: how labels relate, and which words speak for which label. Rows are places in the label list."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

MAX_TARGETS = 50
"""A document with more targets says little about any two of them, and its pairs grow with the square."""

WORD = re.compile(r"[^\W\d_][\w+.-]*[\w+]")
MAX_WORDS = 50_000
EDGE_SCHEMA = pl.Schema({"a": pl.Int64, "b": pl.Int64, "weight": pl.Float64})


def cooccurrence_edges(targets: pl.DataFrame) -> pl.DataFrame:
    """Edges `a < b, weight` between labels: the cosine of their documents, each weighted 1/(targets - 1).

    Source: the weight is Newman's for co-authorship, Phys. Rev. E 64, 016132 (2001), section III.
    """
    counted = targets.with_columns(count=pl.len().over("text_hash")).filter(pl.col("count").is_between(2, MAX_TARGETS))
    # whole billionths: their sums do not depend on the order of rows, so the same targets give the same edges
    rows = counted.select("text_hash", "label_id", share=(1e9 / (pl.col("count") - 1)).round().cast(pl.Int64))
    norms = rows.group_by("label_id").agg(norm=pl.col("share").sum().sqrt())
    pairs = rows.join(rows, on="text_hash", suffix="_b").filter(pl.col("label_id") < pl.col("label_id_b"))
    edges = pairs.group_by(a="label_id", b="label_id_b").agg(common=pl.col("share").sum())
    edges = edges.join(norms, left_on="a", right_on="label_id").join(norms, left_on="b", right_on="label_id", suffix="_b")
    weighted = edges.select("a", "b", weight=pl.col("common") / (pl.col("norm") * pl.col("norm_b")))
    return weighted.cast(EDGE_SCHEMA).sort("a", "b")


class LabelGraph:
    """Which labels are related, with weights in 0..1."""

    def __init__(self, label_count: int, a: Rows, b: Rows, weights: NDArray[np.float64]) -> None:
        """Take undirected edges between label rows."""
        ends, others = np.concatenate([a, b]), np.concatenate([b, a])
        order = np.lexsort((others, ends))
        self._others = others[order]
        self._weights = np.concatenate([weights, weights])[order]
        self._starts = np.searchsorted(ends[order], np.arange(label_count + 1))

    def neighbours(self, row: int) -> dict[int, float]:
        """The related rows of one label, with their weights."""
        part = slice(self._starts[row], self._starts[row + 1])
        return dict(zip(self._others[part].tolist(), self._weights[part].tolist(), strict=True))

    def related(self, rows: Sequence[int]) -> dict[int, float]:
        """Rows related to any of these, with the highest weight; none of these themselves."""
        best: dict[int, float] = {}
        for row in rows:
            for other, weight in self.neighbours(row).items():
                best[other] = max(weight, best.get(other, 0.0))
        return {row: weight for row, weight in best.items() if row not in rows}

    def concepts(self, rows: Sequence[int], vectors_at: Callable[[Sequence[int]], Vectors]) -> Vectors:
        """Vectors of labels, each moved half way towards the weighted mean of its neighbours; unit length."""
        moved = np.array(vectors_at(rows))
        for place, row in enumerate(rows):
            near = self.neighbours(row)
            if near:
                moved[place] += np.average(vectors_at(list(near)), axis=0, weights=list(near.values()))
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.maximum(lengths, 1e-9), dtype=np.float32)


class WordVectors:
    """Words in the space of the sentence embedder: the mean vector of the texts that hold a word, less that of all."""

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Learn from texts with their vectors; words of one text alone and stop words are left out."""
        counter = CountVectorizer(
            binary=True, min_df=min(2, len(texts)), max_features=MAX_WORDS, dtype=np.float32, analyzer=unique_words
        )
        counts = counter.fit_transform(texts)
        self._rows: dict[str, int] = counter.vocabulary_
        frequency = np.asarray(counts.sum(axis=0)).reshape(-1, 1)
        # two more texts of no meaning: a rare word says less
        self._vectors = (counts.T @ (vectors - vectors.mean(axis=0)) / (frequency + 2)).astype(np.float32)

    def known_words(self, text: str) -> list[str]:
        """The text's words that have a vector, as first written, each once."""
        return [word for word in unique_words(text, as_written=True) if word.lower() in self._rows]

    def of(self, words: Sequence[str]) -> Vectors:
        """Vectors of known words."""
        return np.asarray(self._vectors[[self._rows[word.lower()] for word in words]], dtype=np.float32)


def unique_words(text: str, as_written: bool = False) -> list[str]:
    """The text's words but for stop words, each once in order; lower case unless `as_written`."""
    first: dict[str, str] = {}
    for word in WORD.findall(text):
        first.setdefault(word.lower(), word)
    return [word if as_written else lower for lower, word in first.items() if lower not in ENGLISH_STOP_WORDS]


def unique_names(names: Sequence[str]) -> dict[str, str]:
    """The short form of every name that has one of its own: the part before the first `: `."""
    counts = Counter(name.partition(": ")[0] for name in names)
    return {name: short for name in names if (short := name.partition(": ")[0]) != name and counts[short] == 1}
