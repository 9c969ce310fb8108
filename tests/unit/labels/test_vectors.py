import numpy as np
import pytest

from tasks.labels.vectors import StoredVectors, VectorForm, encode_rows
from tests.unit.labels.test_search import unit_rows


@pytest.mark.parametrize(("form", "most"), [("float32", 0.0), ("float16", 5e-4), ("int8", 5e-3)])
def test_stored_vectors_give_back_what_was_encoded(form: VectorForm, most: float) -> None:
    vectors = unit_rows(50, 64)
    codes, scales = encode_rows(vectors, form)
    stored = StoredVectors(codes, scales)
    assert codes.dtype == form
    assert np.abs(stored.block(0, 50) - vectors).max() <= most
    assert np.array_equal(stored.take(np.array([7, 3])), stored.block(0, 50)[[7, 3]])
    assert (len(stored), stored.d_model) == (50, 64)


@pytest.mark.parametrize("form", ["float32", "float16", "int8"])
def test_cosines_are_those_of_the_vectors_given_back(form: VectorForm) -> None:
    stored = StoredVectors(*encode_rows(unit_rows(50, 64), form))
    queries, rows = unit_rows(3, 64, 1), np.array([[4, 9], [0, 49], [7, 7]])
    expected = [[float(query @ stored.block(0, 50)[row]) for row in own] for query, own in zip(queries, rows, strict=True)]
    assert stored.cosines(queries, rows) == pytest.approx(np.array(expected), abs=1e-6)


def test_int8_uses_all_its_steps_in_every_row() -> None:
    codes, _ = encode_rows(unit_rows(20, 16), "int8")
    assert (np.abs(codes.astype(int)).max(axis=1) == 127).all()


def test_float32_is_not_copied() -> None:
    vectors = unit_rows(4, 8)
    assert np.shares_memory(StoredVectors(vectors).block(1, 3), vectors)
