"""Several rankings of the same queries made one, by rank alone."""

from collections.abc import Sequence

import numpy as np

from tasks.labels.search import NO_LABEL, Ranking

RRF_K = 60


def fuse_rankings(rankings: Sequence[Ranking], k: int) -> Ranking:
    """Reciprocal rank fusion: score = sum over rankings of 1 / (60 + rank), ties by label number.

    Source: Cormack, Clarke and Buettcher, SIGIR 2009, with their constant 60.
    """
    query_count = len(rankings[0].label_ids)
    ids = np.full((query_count, k), NO_LABEL, np.int32)
    scores = np.full((query_count, k), -np.inf, np.float32)
    for query in range(query_count):
        total: dict[int, float] = {}
        for ranking in rankings:
            for rank, label in enumerate(ranking.label_ids[query].tolist()):
                if label != NO_LABEL:
                    total[label] = total.get(label, 0.0) + 1.0 / (RRF_K + rank + 1)
        best = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:k]
        ids[query, : len(best)] = [label for label, _ in best]
        scores[query, : len(best)] = [score for _, score in best]
    return Ranking(ids, scores)
