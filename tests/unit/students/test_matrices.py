import numpy as np

from tasks.students.matrices import add_weighted, filled_cells, keep_above, sparse


def test_keep_above_keeps_what_a_dense_block_keeps() -> None:
    cells = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    cells[2] = 0
    kept = keep_above(cells, 0.5)
    np.testing.assert_array_equal(kept.toarray(), np.where(np.abs(cells) >= 0.5, cells, 0))
    assert kept.has_canonical_format
    assert kept.dtype == np.float32


def test_keep_above_of_no_column_is_empty() -> None:
    assert keep_above(np.zeros((3, 0), np.float32), 0.5).shape == (3, 0)


def test_filled_cells_are_in_the_order_of_the_data() -> None:
    matrix = sparse(np.array([[0, 2, 0], [0, 0, 0], [3, 0, 4]], np.float32))
    rows, columns = filled_cells(matrix)
    assert list(zip(rows.tolist(), columns.tolist(), matrix.data.tolist(), strict=True)) == [(0, 1, 2), (2, 0, 3), (2, 2, 4)]


def test_add_weighted_sums_each_times_its_weight() -> None:
    one, other = sparse(np.array([[0, 2]], np.float32)), sparse(np.array([[1, 3]], np.float32))
    np.testing.assert_array_equal(add_weighted([one, other], np.array([0.5, 2], np.float32)).toarray(), [[2, 7]])
