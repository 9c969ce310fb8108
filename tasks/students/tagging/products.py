"""Products of sparse rows with one sparse matrix, written by MKL straight into a dense block."""

import warnings

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags_array
from torch import Tensor

COMMON_ROWS = 256
"""Rows that are multiplied densely at most: 64 MB at 63,436 labels. A document has 1,030,000 weights of its terms there, and
290,000 of them are then left to add one by one."""
LEAST_FILL = 0.02
"""Share of filled cells from which a row is multiplied densely: a dense row costs the same however many texts have its term."""
PART_ROWS = 16
"""Rows of a block that are filled at once: 4 MB at 63,436 columns stay in a core's cache, and take a third less time."""


class QuickProduct:
    """`rows @ weights`, dense, for one matrix of weights and many blocks of rows."""

    def __init__(self, weights: "csr_matrix[np.float32]") -> None:
        """Take the weights apart: the fullest rows become a dense matrix."""
        fill = np.diff(weights.indptr)
        fullest = np.argsort(-fill, kind="stable")[:COMMON_ROWS]
        self._common = fullest[fill[fullest] >= LEAST_FILL * weights.shape[1]]
        self._dense = torch.from_numpy(np.asarray(weights[self._common].toarray(), dtype=np.float32))
        self._is_rare = np.ones(weights.shape[0], np.float32)
        self._is_rare[self._common] = 0
        self._sparse = _as_tensor(_without_zeros(csr_matrix(diags_array(self._is_rare, dtype=np.float32) @ weights)))

    def write(self, rows: "csr_matrix[np.float32]", block: Tensor) -> None:
        """Set a block [row, column] to the product."""
        torch.mm(torch.from_numpy(rows[:, self._common].toarray()), self._dense, out=block)
        self._add_rare(rows, block)

    def add(self, rows: "csr_matrix[np.float32]", block: Tensor) -> None:
        """Add the product to a block [row, column]."""
        block.addmm_(torch.from_numpy(rows[:, self._common].toarray()), self._dense)
        self._add_rare(rows, block)

    def _add_rare(self, rows: "csr_matrix[np.float32]", block: Tensor) -> None:
        rare = _without_zeros(csr_matrix(rows @ diags_array(self._is_rare, dtype=np.float32)))
        for start in range(0, rows.shape[0], PART_ROWS):
            part = block[start : start + PART_ROWS]
            torch.addmm(part, _as_tensor(rare, start, start + PART_ROWS), self._sparse, out=part)


def _without_zeros(matrix: "csr_matrix[np.float32]") -> "csr_matrix[np.float32]":
    matrix.eliminate_zeros()
    return matrix


def _as_tensor(matrix: "csr_matrix[np.float32]", first: int = 0, last: int | None = None) -> Tensor:
    """Rows of a matrix as torch has them; with numbers of 32 bits, for MKL would copy those of 64 at every product."""
    starts = matrix.indptr[first : None if last is None else last + 1].astype(np.int32)
    cells = slice(starts[0], starts[-1])
    columns, values = matrix.indices[cells].astype(np.int32), matrix.data[cells].astype(np.float32)
    first_at_0, at, filled = (torch.from_numpy(array) for array in (starts - starts[0], columns, values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that sparse matrices are new in torch
        return torch.sparse_csr_tensor(first_at_0, at, filled, size=[len(starts) - 1, matrix.shape[1]], check_invariants=False)
