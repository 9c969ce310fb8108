"""What makes tagging quick where labels are many: the same wording, by matrix products with few passes over them.

`find_wording` gives the same but for the last bits of sums; training and evaluation stay with it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from tasks.labels.lexical import LexicalIndex
from tasks.labels.search import top_columns
from tasks.students.features import WORDING_COUNT, find_wording
from tasks.students.matrices import Matrix, fill_matrix
from tasks.students.tagging.products import QuickProduct


class QuickWording:
    """Labels by wording: products that MKL writes straight into a dense block, where torch has MKL."""

    def __init__(self, lexical: LexicalIndex, block: Tensor) -> None:
        """Take an index of the labels, row by row, and a block [text, label] to write to."""
        self._lexical = lexical
        self._block = block
        self._product = QuickProduct(lexical.label_weights)

    def find(self, texts: Sequence[str]) -> Matrix:
        """TF-IDF cosines [text, label row] of each text's best labels by wording, as `find_wording` gives them."""
        size, label_count = self._block.shape
        count = min(WORDING_COUNT, label_count)
        values, columns = [np.zeros((0, count), np.float32)], [np.zeros((0, count), np.int64)]
        for start in range(0, len(texts), size):
            weights = csr_matrix(self._lexical.weigh(texts[start : start + size])) * np.float32(0.5)
            scores = self._block[: weights.shape[0]]
            self._product.write(weights, scores)
            cells = scores.numpy()
            columns.append(top_columns(cells, count))
            values.append(np.take_along_axis(cells, columns[-1], 1))
        rows = np.repeat(np.arange(len(texts)), count)
        filled = np.concatenate(columns).ravel(), np.concatenate(values).ravel()
        return fill_matrix(rows, *filled, (len(texts), label_count))


def open_wording(lexical: LexicalIndex, block: Tensor) -> Callable[[Sequence[str]], Matrix]:
    """A function of texts: `QuickWording.find`, or `find_wording` where torch has no MKL."""
    if torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]  # theirs
        return QuickWording(lexical, block).find
    return lambda texts: find_wording(lexical, lexical.label_ids, texts)
