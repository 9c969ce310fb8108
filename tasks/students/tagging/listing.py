"""What makes tagging quick where labels are many: the same wording, by matrix products with few passes over them.

`find_wording` gives the same but for the last bits of sums; training and evaluation stay with it.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array
from torch import Tensor

from tasks.labels.lexical import LexicalIndex
from tasks.students.candidates import BLOCK_CELLS
from tasks.students.features import BLOCK, WORDING_COUNT, find_wording
from tasks.students.matrices import Matrix, fill_matrix

COMMON_TERMS = 64
"""Terms of most labels that are multiplied densely: 16 MB at 63,436 labels, and a quarter less time."""


class QuickWording:
    """Labels by wording: products that MKL writes straight into a dense block, where torch has MKL.

    The terms that most labels have are multiplied as a dense matrix, the others as sparse ones.
    """

    def __init__(self, lexical: LexicalIndex) -> None:
        """Take an index of the labels, row by row."""
        self._lexical = lexical
        self._label_count = len(lexical.label_ids)
        weights = csr_matrix(lexical.label_weights)
        self._common = np.argsort(-np.diff(weights.indptr), kind="stable")[:COMMON_TERMS]
        self._dense = torch.from_numpy(np.asarray(weights[self._common].toarray(), dtype=np.float32))
        is_rare = np.ones(weights.shape[0], np.float32)
        is_rare[self._common] = 0
        rare = csr_matrix(diags_array(is_rare, dtype=np.float32) @ weights)
        rare.eliminate_zeros()
        self._sparse = as_tensor(rare)

    def find(self, texts: Sequence[str]) -> Matrix:
        """TF-IDF cosines [text, label row] of each text's best labels by wording, as `find_wording` gives them."""
        count = min(WORDING_COUNT, self._label_count)
        size = max(1, min(BLOCK, BLOCK_CELLS // self._label_count))
        block = torch.empty(size, self._label_count)
        found = []
        for start in range(0, len(texts), size):
            weights = csr_matrix(self._lexical.weigh(texts[start : start + size])) * np.float32(0.5)
            scores = block[: weights.shape[0]]
            torch.mm(torch.from_numpy(weights[:, self._common].toarray()), self._dense, out=scores)
            torch.addmm(scores, as_tensor(weights), self._sparse, out=scores)
            found.append(torch.topk(scores, count, dim=1, sorted=False))
        scores = torch.cat([best.values for best in found]).flatten()
        columns = torch.cat([best.indices for best in found]).flatten()
        rows = np.repeat(np.arange(len(texts)), count)
        return fill_matrix(rows, columns.numpy(), scores.numpy(), (len(texts), self._label_count))


def open_wording(lexical: LexicalIndex) -> Callable[[Sequence[str]], Matrix]:
    """A function of texts: `QuickWording.find`, or `find_wording` where torch has no MKL."""
    if torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]  # theirs
        return QuickWording(lexical).find
    return lambda texts: find_wording(lexical, lexical.label_ids, texts)


def as_tensor(matrix: "csr_matrix[np.float32]") -> Tensor:
    """The matrix as torch has it."""
    starts, columns = (torch.from_numpy(array.astype(np.int64)) for array in (matrix.indptr, matrix.indices))
    values = torch.from_numpy(matrix.data.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that sparse matrices are new in torch
        return torch.sparse_csr_tensor(starts, columns, values, size=list(matrix.shape), check_invariants=False)


def pick_quickly(cosines: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Columns of the `count` largest cosines of every row, in no order, as `pick_nearest` but for ties."""
    return np.asarray(torch.topk(torch.from_numpy(cosines), count, dim=1, sorted=False).indices.numpy())
