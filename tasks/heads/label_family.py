"""Closed families of related labels: refinement is patched where target and near miss are of one family, as in the paper."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.labels.search import LabelIndex
from tasks.sequences.tokens import TokenSequence

LEAST_DOCUMENTS = 20
"""With fewer documents in the best family, refinement is patched on all of them."""


@dataclass(frozen=True)
class Family:
    """The labels nearest to one label, itself among them; `document_count` documents refine between two of them."""

    centre: int
    label_ids: frozenset[int]
    document_count: int

    @property
    def is_large_enough(self) -> bool:
        """True if it leaves documents enough to patch on."""
        return self.document_count >= LEAST_DOCUMENTS


def label_family(sequences: Sequence[TokenSequence], index: LabelIndex, size: int) -> Family | None:
    """The family in which most documents refine, of those centred on a target; null if no document refines.

    Of families with as many documents, the one of the smallest centre.

    Args:
        sequences: documents with traces.
        index: tells which labels are nearest.
        size: labels of the family, fewer if the index holds fewer.

    Source: a closed family of about 50 related labels, Saha Roy et al., arXiv 2606.06840; forming it by the index is ours.
    """
    refining = [one.refine_labels for one in sequences if len(one.refine_rows)]
    if not refining:
        return None
    centres = np.unique(np.concatenate([pairs[:, 0] for pairs in refining]))
    nearest = index.search(index.vectors_of(centres), size).label_ids
    families = [np.unique(np.append(row[row >= 0], centre)) for centre, row in zip(centres, nearest, strict=True)]
    counts = [sum(bool(np.isin(pairs, family).all(axis=1).any()) for pairs in refining) for family in families]
    best = int(np.argmax(counts))
    return Family(int(centres[best]), frozenset(families[best].tolist()), counts[best])
