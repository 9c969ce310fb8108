"""N(x) of the patched documents, as vectors: what Confusion of their generated steps is measured against."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import polars as pl

from tasks.labels.search import LabelIndex, Vectors

NO_RESULT = -1


def near_vectors(relevance: pl.DataFrame, document_ids: Collection[str], index: LabelIndex, count: int) -> Mapping[str, Vectors]:
    """Unit vectors of the labels nearest to any target of a document that are neither targets nor to be left out.

    A document without targets has none.

    Args:
        relevance: `core_relevance`.
        document_ids: the documents.
        index: the label index.
        count: labels a document, fewer if the index holds fewer.

    Source: N(x) of Saha Roy et al., arXiv 2606.06840; nearest by embedder is ours, as in the text-level analysis.
    """
    rows = relevance.filter(pl.col("document_id").is_in(list(document_ids)))
    found = {}
    for (document,), part in rows.group_by("document_id"):
        targets = part.filter(~pl.col("is_filtered"))["label_id"].sort().to_numpy()
        if len(targets):
            labels = list(_nearest(index, targets, set(part["label_id"]), count))
            if labels:
                found[str(document)] = index.vectors_of(labels)
    return found


def _nearest(index: LabelIndex, targets: np.ndarray, banned: set[int], count: int) -> Iterator[int]:
    """Best first, ties by label number."""
    hits = index.search(index.vectors_of(targets), min(count + len(banned), index.size))
    best: dict[int, float] = {}
    for label, score in zip(hits.label_ids.ravel().tolist(), hits.scores.ravel().tolist(), strict=True):
        if label != NO_RESULT and label not in banned:
            best[label] = max(score, best.get(label, -1.0))
    yield from sorted(best, key=lambda label: (-best[label], label))[:count]
