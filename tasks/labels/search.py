"""Nearest labels of query vectors, and the `Ranking` every retriever returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError
from tasks.labels.vectors import StoredVectors

Vectors = NDArray[np.float32]
LabelIds = NDArray[np.int32]
Scores = NDArray[np.float32]
Rows = NDArray[np.int32]

ApproximateSearch = Callable[[Vectors, int], Rows]
"""Fetches at least k label rows a unit query, [query, row], best first, -1 where it found fewer."""

NO_LABEL = -1
"""Pads a short list; its score is -inf."""

QUERY_BLOCK = 256
LABEL_BLOCK = 32_768
"""Queries and labels a matrix product: 256 x 32,768 scores take 34 MB, the labels' vectors 50 MB."""


@dataclass(frozen=True)
class Ranking:
    """Labels of many queries, best first: `label_ids` and `scores` are [query, rank]; short lists end in `NO_LABEL`."""

    label_ids: LabelIds
    scores: Scores


class LabelIndex:
    """Labels by vector: an exact matrix product, or approximate candidates rescored with the stored vectors."""

    def __init__(
        self, label_ids: LabelIds, vectors: Vectors | StoredVectors, approximate: ApproximateSearch | None = None
    ) -> None:
        """Take unit vectors, row i for `label_ids[i]`; without `approximate`, search is exact.

        Raises:
            ConfigError: the counts differ.
        """
        if len(label_ids) != len(vectors):
            raise ConfigError(f"label index: {len(label_ids)} labels but {len(vectors)} vectors")
        self.label_ids = label_ids
        self._stored = vectors if isinstance(vectors, StoredVectors) else StoredVectors(vectors)
        self._approximate = approximate
        self._order = np.argsort(label_ids, kind="stable")

    @property
    def size(self) -> int:
        """How many labels it holds."""
        return len(self.label_ids)

    @property
    def vectors(self) -> Vectors:
        """All vectors as float32, row i for `label_ids[i]`: 4 bytes a number, whatever they are stored in."""
        return self._stored.block(0, self.size)

    def search(self, queries: Vectors, k: int, is_exact: bool = False) -> Ranking:
        """The k labels of highest cosine for each unit query vector.

        Args:
            queries: unit vectors, one row a query.
            k: length of each list.
            is_exact: search exactly even where the index is approximate.
        """
        search = self._search_exact if self._approximate is None or is_exact else self._search_near
        return join_rankings([search(queries[i : i + QUERY_BLOCK], k) for i in range(0, len(queries), QUERY_BLOCK)], k)

    def rows_of(self, label_ids: Sequence[int] | LabelIds) -> NDArray[np.int64]:
        """Rows that hold these labels.

        Raises:
            ConfigError: a label is not in the index.
        """
        wanted = np.asarray(label_ids, dtype=np.int64)
        places = np.searchsorted(self.label_ids, wanted, sorter=self._order)
        rows = self._order[np.minimum(places, max(self.size - 1, 0))] if self.size else np.zeros(len(wanted), np.int64)
        strangers = wanted[self.label_ids[rows] != wanted] if self.size else wanted
        if len(strangers):
            raise ConfigError(
                f"label index: {len(strangers)} of {len(wanted)} label ids are not among its {self.size} labels, "
                f"e.g. {strangers[:3].tolist()}; the tables are of another label set: run the stages from `ctd index` on"
            )
        return np.asarray(rows, dtype=np.int64)

    def vectors_of(self, label_ids: Sequence[int] | LabelIds) -> Vectors:
        """Vectors of these labels, one row each, in order.

        Raises:
            ConfigError: a label is not in the index.
        """
        return self.vectors_at(self.rows_of(label_ids))

    def vectors_at(self, rows: Sequence[int] | NDArray[np.int64]) -> Vectors:
        """Vectors of these rows, one each, in order."""
        return self._stored.take(np.asarray(rows, dtype=np.int64))

    def _search_exact(self, queries: Vectors, k: int) -> Ranking:
        nearest = NearestSoFar(queries, k)
        for start in range(0, self.size, LABEL_BLOCK):
            part = slice(start, start + LABEL_BLOCK)
            nearest.see(self.label_ids[part], self._stored.block(start, start + LABEL_BLOCK))
        return nearest.ranking

    def _search_near(self, queries: Vectors, k: int) -> Ranking:
        rows = self._approximate(queries, min(k, self.size)) if self._approximate else np.zeros((0, 0), np.int32)
        scores = self._stored.cosines(queries, np.maximum(rows, 0))
        scores[rows < 0] = -np.inf
        ids = np.where(rows < 0, NO_LABEL, self.label_ids[np.maximum(rows, 0)])
        return _best(ids, scores, k)


class NearestSoFar:
    """The k best labels of each query among the label vectors seen so far: exact search over vectors that come in blocks."""

    def __init__(self, queries: Vectors, k: int) -> None:
        """Take unit vectors, one row a query."""
        self._queries = queries
        self._k = k
        self.ranking = join_rankings([], k) if not len(queries) else _nothing(len(queries), k)

    def see(self, label_ids: LabelIds, vectors: Vectors) -> None:
        """Compare with more labels; row i of `vectors` is the unit vector of `label_ids[i]`."""
        if not len(self._queries) or not len(label_ids):
            return
        found = top_scores(self._queries @ vectors.T, label_ids, self._k)
        ids = np.concatenate([self.ranking.label_ids, found.label_ids], axis=1)
        self.ranking = _best(ids, np.concatenate([self.ranking.scores, found.scores], axis=1), self._k)


def _nothing(query_count: int, k: int) -> Ranking:
    return Ranking(np.full((query_count, k), NO_LABEL, np.int32), np.full((query_count, k), -np.inf, np.float32))


def _best(ids: LabelIds, scores: Scores, k: int) -> Ranking:
    """The k best of each list, ties by label number."""
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return Ranking(np.take_along_axis(ids, order, 1).astype(np.int32), np.take_along_axis(scores, order, 1))


GROUPS = 4
"""Groups of columns for every column that is looked for, in `top_columns`."""
LEAST_WIDTH = 4
"""Columns of a group at least: with fewer a plain selection is as quick."""


def top_columns(cells: Scores, count: int) -> NDArray[np.int64]:
    """Columns of the `count` largest cells of every row, in no order; of equal cells at the end any may stand there.

    The largest cells of groups of columns are found in one pass, and the `count`-th largest of them is no larger than the
    `count`-th largest cell: few cells are left to choose from.
    """
    row_count, column_count = cells.shape
    width = column_count // (GROUPS * count) if count else 0
    if width < LEAST_WIDTH:
        return np.argpartition(-cells, count - 1, axis=1)[:, :count] if count else np.zeros((row_count, 0), np.int64)
    groups = cells[:, : width * GROUPS * count].reshape(row_count, width, GROUPS * count).max(axis=1)
    least = np.partition(groups, -count, axis=1)[:, -count]
    found = np.empty((row_count, count), np.int64)
    for place, row in enumerate(cells):
        columns = np.flatnonzero(row >= least[place])
        if len(columns) > count:
            columns = columns[np.argpartition(-row[columns], count - 1)[:count]]
        found[place] = columns
    return found


def top_scores(scores: Scores, label_ids: LabelIds, k: int) -> Ranking:
    """The k best columns of a score matrix [query, label], ties by label number; -inf scores become `NO_LABEL`."""
    width = min(k, scores.shape[1])
    part = top_columns(scores, width) if width < scores.shape[1] else None
    ids = np.broadcast_to(label_ids, scores.shape) if part is None else label_ids[part]
    kept = scores if part is None else np.take_along_axis(scores, part, 1)
    best = _best(ids, kept, width)
    return _pad(
        Ranking(np.where(np.isneginf(best.scores), np.int32(NO_LABEL), best.label_ids), best.scores.astype(np.float32)), k
    )


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
