"""What makes tagging quick where labels are many: the same wording and shortlists, by matrix products with few passes over them.

`find_wording` and `list_candidates` give the same but for the last bits of sums; training and evaluation stay with those.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array
from torch import Tensor

from tasks.labels.lexical import LexicalIndex
from tasks.students.candidates import BLOCK_CELLS, Candidates, Texts
from tasks.students.features import BLOCK, WORDING_COUNT, Evidence, find_wording
from tasks.students.matrices import Matrix, fill_matrix, sparse
from tasks.students.networks import Shortlister

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


def list_quickly(shortlister: Shortlister, texts: Texts, evidence: Evidence, labels: Tensor, count: int) -> Candidates:
    """The `count` best labels of all documents by the shortlister, ties by label row.

    Evidence is nearly everywhere 0, so it is added where it is not.

    Args:
        shortlister: scores all labels.
        texts: documents.
        evidence: of the same documents.
        labels: unit vectors [label, d_model].
        count: candidates a document.
    """
    size = max(1, min(BLOCK, BLOCK_CELLS // len(labels)))
    with torch.no_grad():
        moved = shortlister.move(torch.from_numpy(texts.vectors)) * shortlister.log_scale.exp()
        weights = shortlister.log_weights.exp().numpy()
        kinds = evidence.listing
        weighted = sparse(
            sum((kind * weight for kind, weight in zip(kinds[1:], weights[1:], strict=True)), kinds[0] * weights[0])
        )
        block = torch.empty(size, len(labels))
        parts = []
        for start in range(0, len(moved), size):
            rows = slice(start, start + size)
            scores = block[: len(moved[rows])]
            torch.mm(moved[rows], labels.T, out=scores)
            parts.append(_best(scores, weighted[rows], texts.barred[rows], min(count, len(labels))))
    joined = [np.concatenate(found) for found in zip(*parts, strict=True)]
    return Candidates(joined[0], joined[1], np.isfinite(joined[1]))


def _best(scores: Tensor, weighted: Matrix, barred: Matrix, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Label rows and log-probabilities of the best labels of a block, best first; `scores` is written to."""
    cells = scores.numpy()
    cells[_places(weighted)] += weighted.data
    cells[_places(barred)] = -np.inf
    total = torch.logsumexp(scores, dim=1, keepdim=True)
    best, labels = torch.topk(scores, count, dim=1)
    log_probs, rows = (best - total).numpy(), labels.numpy()
    order = np.lexsort((rows, -log_probs), axis=1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(log_probs, order, 1)


def _places(matrix: Matrix) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), matrix.indices.astype(np.int64)
