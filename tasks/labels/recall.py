"""How much of what exact search finds the label index finds, and which vectors must not enter it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import EmptyTargetError
from tasks.labels.search import NO_LABEL, LabelIndex, Ranking, Rows
from tasks.labels.vectors import Vectors

Z95 = 1.959964


@dataclass(frozen=True)
class Recall:
    """Mean share of the exact top k that was found, 0 to 1, with its 95% normal interval over queries."""

    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Oracle:
    """What exact search finds among the float32 vectors: rows [query, rank], and for each row the first of its twins.

    A twin has the very same vector. Which of them a list holds is chance, so that finding one counts as finding the other.
    """

    queries: Vectors
    rows: Rows
    twin_of: Rows


def overlap_per_query(found: Ranking, exact: Ranking, k: int) -> NDArray[np.float64]:
    """For each query the share of the exact top k that is in the found top k, 0 to 1."""
    hits = (found.label_ids[:, :k, None] == exact.label_ids[:, None, :k]) & (exact.label_ids[:, None, :k] != NO_LABEL)
    return np.asarray(hits.any(axis=1).sum(axis=1) / (exact.label_ids[:, :k] != NO_LABEL).sum(axis=1), dtype=np.float64)


def mean_recall(shares: NDArray[np.float64]) -> Recall:
    """The mean of shares per query, its interval cut to 0..1.

    Raises:
        EmptyTargetError: no queries.
    """
    if not len(shares):
        raise EmptyTargetError("label index: recall needs at least one query vector; the dataset has no document")
    mean = float(shares.mean())
    half = Z95 * float(shares.std(ddof=1)) / len(shares) ** 0.5 if len(shares) > 1 else 0.0
    return Recall(mean, max(0.0, mean - half), min(1.0, mean + half))


def measure_recall(index: LabelIndex, oracle: Oracle, ks: tuple[int, ...]) -> dict[int, Recall]:
    """Recall at each k, from one search; a k beyond the number of labels is measured at that number.

    Raises:
        EmptyTargetError: no queries.
    """
    found = index.search(oracle.queries, min(max(ks), index.size)).label_ids
    rows = np.where(found == NO_LABEL, -1, oracle.twin_of[index.rows_of(np.where(found == NO_LABEL, index.label_ids[0], found))])
    none = np.zeros(found.shape, np.float32)
    seen = Ranking(np.asarray(rows, np.int32), none)
    exact = Ranking(np.where(oracle.rows < 0, np.int32(NO_LABEL), oracle.twin_of[oracle.rows]), none)
    return {k: mean_recall(overlap_per_query(seen, exact, min(k, index.size))) for k in ks}


def unusable_rows(vectors: Vectors) -> NDArray[np.int64]:
    """Rows that must not enter an index: not finite, or of zero length (usearch accepts both silently)."""
    norms = np.linalg.norm(vectors, axis=1)
    return np.flatnonzero(~np.isfinite(norms) | (norms < 1e-6))


def first_twins(row_hashes: NDArray[np.uint64]) -> Rows:
    """For each row the first row of the same hash."""
    _, first, place = np.unique(row_hashes, return_index=True, return_inverse=True)
    return np.asarray(first[place], dtype=np.int32)
