"""Sparse matrices [document, label] and [text, word]: the few operations students need."""

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

Matrix: TypeAlias = csr_array[Any, tuple[int, int]]  # the stubs' scalar type says nothing: all are float32


Cells: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of some cells."""


def sparse(matrix: Any) -> Matrix:  # any scipy matrix: products and slices have no type the stubs agree on
    """The matrix by rows, float32, its columns in order and its zeros gone."""
    rows = cast(Matrix, csr_array(matrix, dtype=np.float32))
    rows.eliminate_zeros()
    rows.sort_indices()
    return rows


def empty_matrix(shape: tuple[int, int]) -> Matrix:
    """A matrix without cells."""
    return cast(Matrix, csr_array(shape, dtype=np.float32))


def fill_matrix(
    rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], values: NDArray[np.float32], shape: tuple[int, int]
) -> Matrix:
    """The matrix with `values` at (`rows`, `columns`), each cell named once."""
    return sparse(csr_array((values, (rows, columns)), shape=shape))


def dense_rows(matrix: Matrix, rows: NDArray[np.int64], columns: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Some rows, and of those all or some columns, as a dense array."""
    block = matrix[rows]
    return np.asarray((block if columns is None else block[:, columns]).toarray(), dtype=np.float32)


def add_weighted(matrices: Sequence[Matrix], weights: NDArray[np.float32]) -> Matrix:
    """The sum of some matrices, each times its weight."""
    return sparse(
        sum((matrix * weight for matrix, weight in zip(matrices, weights, strict=True)), empty_matrix(matrices[0].shape))
    )


def filled_cells(matrix: Matrix) -> Cells:
    """Rows and columns of the cells, in the order of `matrix.data`."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), matrix.indices.astype(np.int64)


def keep_above(cells: NDArray[np.float32], least: float) -> Matrix:
    """A dense block without the cells nearer to 0 than `least`."""
    is_kept = np.abs(cells) >= least
    places = np.flatnonzero(is_kept)  # of one dimension of booleans: several times as quick as what csr_array does
    starts = np.concatenate([[0], np.cumsum(np.count_nonzero(is_kept, axis=1))])
    return cast(Matrix, csr_array((cells.ravel()[places], places % cells.shape[1], starts), shape=cells.shape))


def without_cells(matrix: Matrix, other: Matrix) -> Matrix:
    """The matrix with the cells of `other` emptied."""
    mask = other.astype(bool).astype(np.float32)
    return sparse(matrix - matrix.multiply(mask))


def filled_rows(matrix: Matrix) -> NDArray[np.bool_]:
    """True for rows that have a cell."""
    return np.asarray(np.diff(matrix.indptr) > 0)


def scale_rows(matrix: Matrix, lengths: NDArray[np.float32]) -> Matrix:
    """Every row divided by its length; empty rows stay empty."""
    return sparse(diags_array(1 / np.maximum(lengths, 1e-12), dtype=np.float32) @ matrix)


def unit_rows(matrix: Matrix) -> Matrix:
    """Every row at Euclidean length 1."""
    return scale_rows(matrix, np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))))
