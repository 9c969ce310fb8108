"""A memory whose products MKL writes into one dense block; cosines and votes are the same but for the last bits of sums."""

from dataclasses import dataclass, field, fields

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

from tasks.labels.search import Vectors
from tasks.students.features import BLOCK, Memory
from tasks.students.matrices import Matrix, empty_matrix, sparse
from tasks.students.ridge import RidgeVotes, keep_largest
from tasks.students.tagging.products import QuickProduct


@dataclass(frozen=True)
class QuickVotes(RidgeVotes):
    """`RidgeVotes` with the weights taken apart."""

    _product: QuickProduct = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Take the weights apart once."""
        object.__setattr__(self, "_product", QuickProduct(csr_matrix(self.words)))

    def vote(self, words: Matrix, vectors: Vectors) -> Matrix:
        """As `RidgeVotes.vote`; of equally large votes at the end of the list any may stand there."""
        if not len(self.labels):
            return super().vote(words, vectors)
        block = torch.empty(min(BLOCK, words.shape[0]), len(self.labels))
        blocks = []
        for start in range(0, words.shape[0], BLOCK):
            rows = slice(start, start + BLOCK)
            part = csr_matrix(words[rows])
            scores = torch.mm(torch.from_numpy(vectors[rows]), torch.from_numpy(self.vectors), out=block[: part.shape[0]])
            self._product.add(part, scores)
            blocks.append(keep_largest(scores.numpy(), self.labels, self.label_count))
        return sparse(vstack(blocks)) if blocks else empty_matrix((0, self.label_count))


@dataclass(frozen=True)
class QuickMemory(Memory):
    """`Memory` with its words taken apart, and its vectors in single precision."""

    _words: QuickProduct = field(init=False, repr=False)
    _vectors: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Take the words apart once."""
        object.__setattr__(self, "_words", QuickProduct(csr_matrix(self.words.T)))
        object.__setattr__(self, "_vectors", self.vectors.astype(np.float32))

    def compare_words(self, words: Matrix) -> NDArray[np.float32]:
        """As `Memory.compare_words`."""
        block = torch.empty(words.shape[0], len(self.vectors))
        self._words.write(csr_matrix(words), block)
        return block.numpy()

    def compare_vectors(self, vectors: Vectors) -> NDArray[np.float32]:
        """As `Memory.compare_vectors`."""
        return torch.mm(torch.from_numpy(vectors), torch.from_numpy(self._vectors).T).numpy()


def quicken(memory: Memory) -> Memory:
    """The same memory, quicker where torch has MKL."""
    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]  # theirs
        return memory
    kept = {part.name: getattr(memory, part.name) for part in fields(Memory)}
    return QuickMemory(**kept | {"ridge": _quick_votes(memory.ridge), "listed": _quick_votes(memory.listed)})


def _quick_votes(votes: RidgeVotes) -> RidgeVotes:
    return QuickVotes(votes.labels, votes.words, votes.vectors, votes.label_count)
