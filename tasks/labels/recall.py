"""How much of what exact search finds the label index finds."""

import numpy as np
from numpy.typing import NDArray

from schemas.errors import EmptyTargetError
from tasks.labels.search import NO_LABEL, LabelIndex, Ranking, Vectors

Z95 = 1.959964


def overlap_per_query(found: Ranking, exact: Ranking, k: int) -> NDArray[np.float64]:
    """For each query the share of the exact top k that is in the found top k, 0 to 1."""
    hits = (found.label_ids[:, :k, None] == exact.label_ids[:, None, :k]) & (exact.label_ids[:, None, :k] != NO_LABEL)
    return np.asarray(hits.any(axis=1).sum(axis=1) / (exact.label_ids[:, :k] != NO_LABEL).sum(axis=1), dtype=np.float64)


def measure_recall(index: LabelIndex, queries: Vectors, k: int) -> tuple[float, float, float]:
    """Mean recall@k against exact search, with its 95% normal interval cut to 0..1.

    Raises:
        EmptyTargetError: no queries.
    """
    if not len(queries):
        raise EmptyTargetError("label index: recall needs at least one query vector")
    shares = overlap_per_query(index.search(queries, k), index.search(queries, k, is_exact=True), k)
    mean = float(shares.mean())
    half = Z95 * float(shares.std(ddof=1)) / len(shares) ** 0.5 if len(shares) > 1 else 0.0
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def unusable_rows(vectors: Vectors) -> NDArray[np.int64]:
    """Rows that must not enter an index: not finite, or of zero length (usearch accepts both silently)."""
    norms = np.linalg.norm(vectors, axis=1)
    return np.flatnonzero(~np.isfinite(norms) | (norms < 1e-6))
