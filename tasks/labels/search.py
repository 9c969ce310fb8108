"""Nearest labels of query vectors, and the `Ranking` every retriever returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError

Vectors = NDArray[np.float32]
LabelIds = NDArray[np.int32]
Scores = NDArray[np.float32]

ApproximateSearch = Callable[[Vectors, int], LabelIds]
"""Fetches label rows [query, k] for unit queries, best first, -1 where it found fewer."""

NO_LABEL = -1
"""Pads a short list; its score is -inf."""

QUERY_BLOCK = 256
"""Queries a matrix product: 256 x 50,000 scores take 51 MB."""


@dataclass(frozen=True)
class Ranking:
    """Labels of many queries, best first: `label_ids` and `scores` are [query, rank]; short lists end in `NO_LABEL`."""

    label_ids: LabelIds
    scores: Scores


class LabelIndex:
    """Labels by vector: an exact matrix product, or approximate candidates rescored exactly."""

    def __init__(self, label_ids: LabelIds, vectors: Vectors, approximate: ApproximateSearch | None = None) -> None:
        """Take unit vectors, row i for `label_ids[i]`; without `approximate`, search is exact.

        Raises:
            ConfigError: the counts differ.
        """
        if len(label_ids) != len(vectors):
            raise ConfigError(f"label index: {len(label_ids)} labels but {len(vectors)} vectors")
        self.label_ids = label_ids
        self.vectors = vectors
        self._approximate = approximate

    @property
    def size(self) -> int:
        """How many labels it holds."""
        return len(self.label_ids)

    def search(self, queries: Vectors, k: int, is_exact: bool = False) -> Ranking:
        """The k labels of highest cosine for each unit query vector.

        Args:
            queries: unit vectors, one row a query.
            k: length of each list.
            is_exact: search exactly even where the index is approximate (the oracle of recall).
        """
        if self._approximate is None or is_exact:
            blocks = [self._search_exact(queries[i : i + QUERY_BLOCK], k) for i in range(0, len(queries), QUERY_BLOCK)]
        else:
            blocks = [self._search_near(queries[i : i + QUERY_BLOCK], k) for i in range(0, len(queries), QUERY_BLOCK)]
        return join_rankings(blocks, k)

    def rows_of(self, label_ids: Sequence[int] | LabelIds) -> NDArray[np.int64]:
        """Rows of `vectors` that hold these labels."""
        order = np.argsort(self.label_ids)
        found = np.searchsorted(self.label_ids, np.asarray(label_ids), sorter=order)
        return np.asarray(order[found], dtype=np.int64)

    def vectors_of(self, label_ids: Sequence[int] | LabelIds) -> Vectors:
        """Vectors of these labels, one row each, in order."""
        return np.asarray(self.vectors[self.rows_of(label_ids)], dtype=np.float32)

    def _search_exact(self, queries: Vectors, k: int) -> Ranking:
        return top_scores(queries @ self.vectors.T, self.label_ids, k)

    def _search_near(self, queries: Vectors, k: int) -> Ranking:
        width = min(max(2 * k, k + 50), self.size)
        rows = self._approximate(queries, width) if self._approximate else np.zeros((0, 0), np.int32)
        scores = np.einsum("qd,qrd->qr", queries, self.vectors[np.maximum(rows, 0)]).astype(np.float32)
        scores[rows < 0] = -np.inf
        ids = np.where(rows < 0, NO_LABEL, self.label_ids[np.maximum(rows, 0)])
        order = np.lexsort((ids, -scores), axis=1)[:, :k]
        return Ranking(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))


def top_scores(scores: Scores, label_ids: LabelIds, k: int) -> Ranking:
    """The k best columns of a score matrix [query, label], ties by label number; -inf scores become `NO_LABEL`."""
    width = min(k, scores.shape[1])
    part = np.argpartition(-scores, width - 1, axis=1)[:, :width] if width < scores.shape[1] else None
    ids = np.broadcast_to(label_ids, scores.shape) if part is None else label_ids[part]
    kept = scores if part is None else np.take_along_axis(scores, part, 1)
    order = np.lexsort((ids, -kept), axis=1)
    ids, kept = np.take_along_axis(ids, order, 1), np.take_along_axis(kept, order, 1)
    return _pad(Ranking(np.where(np.isneginf(kept), NO_LABEL, ids).astype(np.int32), kept.astype(np.float32)), k)


def _pad(ranking: Ranking, k: int) -> Ranking:
    short = k - ranking.label_ids.shape[1]
    if short <= 0:
        return ranking
    return Ranking(
        np.pad(ranking.label_ids, ((0, 0), (0, short)), constant_values=NO_LABEL),
        np.pad(ranking.scores, ((0, 0), (0, short)), constant_values=-np.inf),
    )


def join_rankings(blocks: Sequence[Ranking], k: int) -> Ranking:
    """The blocks one below the other, each padded to width k."""
    if not blocks:
        return Ranking(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))
    padded = [_pad(block, k) for block in blocks]
    return Ranking(np.concatenate([b.label_ids for b in padded]), np.concatenate([b.scores for b in padded]))
