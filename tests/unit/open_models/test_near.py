import numpy as np
import polars as pl

from tasks.labels.search import LabelIndex
from tasks.labels.vectors import StoredVectors
from tasks.open_models.near import near_vectors

ANGLES = np.deg2rad([0, 10, 25, 60, 90])
VECTORS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
INDEX = LabelIndex(np.arange(5, dtype=np.int32), StoredVectors(VECTORS, np.ones(5, np.float32)))


def relevance(*pairs: tuple[str, int, bool]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema=["document_id", "label_id", "is_filtered"], orient="row")


def test_near_vectors_are_those_of_the_nearest_labels_that_are_no_targets() -> None:
    found = near_vectors(relevance(("a", 0, False), ("b", 4, False), ("b", 3, False)), ["a", "b"], INDEX, 2)
    np.testing.assert_allclose(found["a"], VECTORS[[1, 2]], atol=1e-6)
    np.testing.assert_allclose(found["b"], VECTORS[[2, 1]], atol=1e-6)


def test_near_vectors_leave_filtered_labels_and_other_documents_out() -> None:
    found = near_vectors(relevance(("a", 0, False), ("a", 1, True), ("c", 2, False)), ["a"], INDEX, 1)
    assert list(found) == ["a"]
    np.testing.assert_allclose(found["a"], VECTORS[[2]], atol=1e-6)


def test_a_document_without_targets_or_without_other_labels_has_none() -> None:
    every = [("all", label, False) for label in range(5)]
    assert near_vectors(relevance(("none", 0, True), *every), ["none", "all"], INDEX, 3) == {}
