"""Labels of the nearest train documents by wording: the usual floor of extreme classification, trained on gold labels."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from tasks.labels.search import LabelIds, Ranking, join_rankings, top_scores

NEIGHBOURS = 30
SCORE_CELLS = 1 << 24
"""Cosines or label scores held at once, at most 64 MB each."""


class Neighbours:
    """Train documents as TF-IDF vectors over words and word pairs, with the labels each of them has."""

    def __init__(
        self, texts: Sequence[str], targets: "csr_matrix[np.float32]", label_ids: LabelIds, count: int = NEIGHBOURS
    ) -> None:
        """Fit on train texts.

        Args:
            texts: of the train documents.
            targets: 1 where train document i has the label of column j.
            label_ids: the label of each column.
            count: neighbours that vote.
        """
        self._vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
        self._documents = self._vectorizer.fit_transform(texts).T.tocsr()  # [term, document]: transposed once
        self._targets, self._label_ids, self._count = targets, label_ids, min(count, len(texts))

    def search(self, texts: Sequence[str], k: int) -> Ranking:
        """At most k labels a text, by the sum of the cosines of those of its nearest train documents that have the label.

        A label that none of them has is never found.
        """
        size = max(1, SCORE_CELLS // max(self._targets.shape))
        blocks = (texts[i : i + size] for i in range(0, len(texts), size))
        return join_rankings([self._search_block(block, k) for block in blocks], k)

    def _search_block(self, texts: Sequence[str], k: int) -> Ranking:
        cosines = (self._vectorizer.transform(texts) @ self._documents).toarray()
        nearest = np.argpartition(-cosines, self._count - 1, axis=1)[:, : self._count]
        votes = np.take_along_axis(cosines, nearest, axis=1)
        rows = np.arange(0, votes.size + 1, self._count)
        voting = csr_matrix((votes.ravel(), nearest.ravel(), rows), shape=cosines.shape)  # [text, train document]
        scores = np.asarray((voting @ self._targets).toarray(), dtype=np.float32)
        scores[scores <= 0] = -np.inf
        return top_scores(scores, self._label_ids, k)


def fit_neighbours(train: pl.DataFrame, targets: pl.DataFrame) -> Neighbours:
    """Neighbours of a dataset.

    Args:
        train: `document_id`, `document_text` of train documents; those without a target cannot vote and are left out.
        targets: `document_id`, `label_id` of their known targets, each pair once.
    """
    known = train.join(targets, on="document_id", how="semi").with_row_index("row")
    label_ids = targets["label_id"].unique().sort().to_numpy()
    pairs = targets.join(known.select("document_id", "row"), on="document_id")
    cells = (np.ones(len(pairs), np.float32), (pairs["row"].to_numpy(), np.searchsorted(label_ids, pairs["label_id"].to_numpy())))
    return Neighbours(known["document_text"].to_list(), csr_matrix(cells, shape=(len(known), len(label_ids))), label_ids)
