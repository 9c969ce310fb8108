"""N(x): the labels nearest to a document's targets that are no targets themselves."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import EmptyTargetError
from tasks.labels.search import NO_LABEL, LabelIndex

LabelIds = NDArray[np.int32]


@dataclass(frozen=True)
class NearMisses:
    """N(x) of one document, best first: labels, and the cosine of each to the target it is nearest to."""

    label_ids: LabelIds
    scores: NDArray[np.float32]


NONE_NEAR = NearMisses(np.zeros(0, np.int32), np.zeros(0, np.float32))


def near_misses(index: LabelIndex, targets: LabelIds, left_out: Collection[int], count: int) -> NearMisses:
    """The `count` labels of highest cosine to any target, best first, ties by label number.

    Args:
        index: the label index.
        targets: the document's targets; none of them is a near miss.
        left_out: labels that must not be counted for this document (its filtered pairs).
        count: how many to return; fewer if the index holds fewer.

    Raises:
        EmptyTargetError: the document has no target, so nothing is near.

    Source: N(x) of Saha Roy et al., arXiv 2606.06840; how it is chosen is open there, nearest by embedder is ours.
    """
    if not len(targets):
        raise EmptyTargetError("near misses of a document without targets are undefined")
    banned = {int(label) for label in targets} | {int(label) for label in left_out} | {NO_LABEL}
    found = index.search(index.vectors_of(targets), min(count + len(banned), index.size))
    best: dict[int, float] = {}
    for label, score in zip(found.label_ids.ravel().tolist(), found.scores.ravel().tolist(), strict=True):
        if label not in banned:
            best[label] = max(score, best.get(label, -1.0))
    ranked = sorted(best, key=lambda label: (-best[label], label))[:count]
    return NearMisses(np.array(ranked, np.int32), np.array([best[label] for label in ranked], np.float32))
