"""Small exact label indexes on disk, for stages that need one."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from warehouse.index_store import IndexManifest, new_index, new_vectors, save_labels


def save_exact_index(path: Path, label_ids: NDArray[np.int32], vectors: NDArray[np.float32], labels_hash: str) -> None:
    """An index of these unit vectors that compares a query with all of them."""
    manifest = IndexManifest(
        embedder="test",
        token_count=32,
        label_count=len(vectors),
        d_model=vectors.shape[1],
        labels_hash=labels_hash,
        vector_form="float32",
        recall_at_10=1.0,
        recall_at_10_ci=(1.0, 1.0),
        recall_at_100=1.0,
        recall_at_100_ci=(1.0, 1.0),
        recall_sample_count=1,
        min_recall_at_10=0.98,
        min_recall_at_100=0.95,
    )
    with new_index(path) as folder:
        files = new_vectors(folder, len(vectors), vectors.shape[1], "float32")
        files.codes[:], files.scales[:] = vectors, 1.0
        save_labels(folder, label_ids, np.zeros((len(vectors), 2), np.uint64), manifest)
