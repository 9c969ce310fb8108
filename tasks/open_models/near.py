"""N(x) of the patched documents, as vectors: what Confusion of their generated steps is measured against."""

from collections.abc import Collection, Mapping

import polars as pl

from tasks.labels.near_misses import near_misses
from tasks.labels.search import LabelIndex, Vectors


def near_vectors(relevance: pl.DataFrame, document_ids: Collection[str], index: LabelIndex, count: int) -> Mapping[str, Vectors]:
    """Unit vectors of the labels nearest to any target of a document that are neither targets nor to be left out.

    A document without targets has none.

    Args:
        relevance: `core_relevance`.
        document_ids: the documents.
        index: the label index.
        count: labels a document, fewer if the index holds fewer.
    """
    rows = relevance.filter(pl.col("document_id").is_in(list(document_ids)))
    found = {}
    for (document,), part in rows.group_by("document_id"):
        targets = part.filter(~pl.col("is_filtered"))["label_id"].sort().to_numpy()
        if len(targets):
            labels = near_misses(index, targets, part["label_id"].to_list(), count).label_ids
            if len(labels):
                found[str(document)] = index.vectors_of(labels)
    return found
