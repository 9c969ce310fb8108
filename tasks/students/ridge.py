"""Votes fitted to the training documents: kernel ridge regression of their labels, the same as one ridge classifier a label.

One solve serves all labels and gives exact leave-one-out votes. The kernel is linear in words and vectors, so what is kept is a
sparse weight of each word and a weight of each dimension: a new document is not compared with the training documents.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import inv
from scipy.sparse import hstack, vstack

from tasks.labels.search import Vectors, top_columns
from tasks.students.matrices import Matrix, empty_matrix, fill_matrix, keep_above, sparse

PENALTY = 1.0
"""Added to the kernel's diagonal, which is 1.5 (development: of .1, .3, 1 and 3 the best at the head of the list)."""

VECTOR_SHARE = 0.5
"""Weight of the cosine of vectors beside that of words in the kernel (development: 1 is alike, 0 is worse)."""

PART_DOCUMENTS = 8_000
"""Documents of one solve at most: their kernel takes 256 MB. More are fitted in parts, whose weights are averaged."""

LEAST_WEIGHT = 0.01
"""Weights of words nearer to 0 than this are dropped."""

LEAST_VOTE = 1e-3
VOTE_COUNT = 200
"""Labels a document has votes for at most."""

BLOCK = 256


@dataclass(frozen=True)
class RidgeVotes:
    """Weights of the labels that training documents have.

    Attributes:
        labels: row of each such label.
        words: [kept bucket, one of `labels`].
        vectors: [dimension, one of `labels`].
        label_count: of all labels.
    """

    labels: NDArray[np.int64]
    words: Matrix
    vectors: NDArray[np.float32]
    label_count: int

    def vote(self, words: Matrix, vectors: Vectors) -> Matrix:
        """Votes [document, label], 0 to 1, of documents with these unit TF-IDF vectors and unit vectors."""
        blocks = []
        for start in range(0, words.shape[0], BLOCK):
            rows = slice(start, start + BLOCK)
            scores = (words[rows] @ self.words).toarray() + vectors[rows] @ self.vectors
            blocks.append(keep_largest(scores.astype(np.float32), self.labels, self.label_count))
        return sparse(vstack(blocks)) if blocks else empty_matrix((0, self.label_count))


def fit_each(
    words: Matrix, vectors: Vectors, targets: Sequence[Matrix], part_documents: int = PART_DOCUMENTS
) -> list[tuple[RidgeVotes, Matrix]]:
    """For each kind of target the fitted weights, and for each training document the votes [document, label] of all the others.

    Args:
        words: unit TF-IDF vectors of the training documents.
        vectors: unit vectors of the same documents.
        targets: of every kind their labels [document, label], 0 to 1; one solve serves all.
        part_documents: see `PART_DOCUMENTS`; which document is in which part is drawn, always alike.

    Source: leave-one-out values of kernel ridge regression, Rifkin and Lippert 2007, MIT-CSAIL-TR-2007-025, section 3;
    the average over parts, Zhang, Duchi and Wainwright 2015, JMLR 16, algorithm 1.
    """
    count = words.shape[0]
    part_count = max(1, math.ceil(count / part_documents))
    order = np.random.default_rng(0).permutation(count) if part_count > 1 else np.arange(count)
    parts = [np.sort(part) for part in np.array_split(order, part_count)]
    fits = [_fit_part(sparse(words[part]), vectors[part], [sparse(kind[part]) for kind in targets]) for part in parts]
    return [_join_parts([fit[kind] for fit in fits], parts, words, vectors) for kind in range(len(targets))]


def _join_parts(
    fits: list[tuple[RidgeVotes, Matrix]], parts: list[NDArray[np.int64]], words: Matrix, vectors: Vectors
) -> tuple[RidgeVotes, Matrix]:
    """The mean of what was fitted in parts; a document's own part votes without it."""
    if len(parts) == 1:
        return fits[0]
    votes = []
    for place, part in enumerate(parts):
        others = (fit for i, (fit, _) in enumerate(fits) if i != place)
        votes.append(sum((fit.vote(sparse(words[part]), vectors[part]) for fit in others), fits[place][1]) / len(parts))
    back = np.argsort(np.concatenate(parts))
    return _average([fit for fit, _ in fits]), sparse(vstack(votes))[back]


def keep_largest(scores: NDArray[np.float32], labels: NDArray[np.int64], label_count: int) -> Matrix:
    """The largest scores of every row, at most 1, where they are above 0: a matrix [row, label]."""
    count = min(VOTE_COUNT, scores.shape[1])
    best = top_columns(scores, count)
    found = np.take_along_axis(scores, best, 1)
    is_vote = found > LEAST_VOTE
    rows = np.nonzero(is_vote)[0]
    return fill_matrix(rows, labels[best[is_vote]], np.minimum(found[is_vote], 1), (len(scores), label_count))


def _fit_part(words: Matrix, vectors: Vectors, targets: Sequence[Matrix]) -> list[tuple[RidgeVotes, Matrix]]:
    solver, by_word = _invert_kernel(words, vectors), sparse(words.T)
    return [_fit_kind(solver, by_word, vectors, kind) for kind in targets]


def _fit_kind(solver: NDArray[np.float32], by_word: Matrix, vectors: Vectors, targets: Matrix) -> tuple[RidgeVotes, Matrix]:
    labels = np.unique(targets.indices).astype(np.int64)
    known = sparse(targets[:, labels])
    word_parts, vector_parts = [], []
    for start in range(0, len(labels), BLOCK):
        coefficients = (sparse(known[:, start : start + BLOCK].T) @ solver).T  # the solver is symmetric, few cells are filled
        word_parts.append(keep_above(by_word @ coefficients, LEAST_WEIGHT))
        vector_parts.append(VECTOR_SHARE * (vectors.T @ coefficients))
    weights = sparse(hstack(word_parts)) if word_parts else empty_matrix((by_word.shape[0], 0))
    of_vectors = np.concatenate([np.zeros((vectors.shape[1], 0)), *vector_parts], axis=1).astype(np.float32)
    fit = RidgeVotes(labels, weights, of_vectors, targets.shape[1])
    return fit, _leave_out(solver, known, labels, targets.shape[1])


def _invert_kernel(words: Matrix, vectors: Vectors) -> NDArray[np.float32]:
    """Inverse of kernel plus penalty, [document, document]."""
    kernel = np.asarray((words @ words.T).toarray(), dtype=np.float32)
    kernel += VECTOR_SHARE * (vectors @ vectors.T)
    kernel[np.diag_indices(len(kernel))] += PENALTY
    return np.asarray(inv(kernel, overwrite_a=True, check_finite=False, assume_a="pos"), dtype=np.float32)


def _leave_out(solver: NDArray[np.float32], known: Matrix, labels: NDArray[np.int64], label_count: int) -> Matrix:
    """Votes for every training document by a fit without it: y - (G y) / diag(G)."""
    blocks = []
    for start in range(0, len(solver), BLOCK):
        rows = slice(start, start + BLOCK)
        scores = known[rows].toarray() - (solver[rows] @ known) / np.diag(solver)[rows, None]
        blocks.append(keep_largest(scores.astype(np.float32), labels, label_count))
    return sparse(vstack(blocks))


def _average(fits: list[RidgeVotes]) -> RidgeVotes:
    """One fit whose votes are the mean of those of all, but for what is cut at 0 and 1."""
    labels = np.unique(np.concatenate([fit.labels for fit in fits]))
    words = empty_matrix((fits[0].words.shape[0], len(labels)))
    vectors = np.zeros((len(fits[0].vectors), len(labels)), np.float32)
    for fit in fits:
        columns = np.searchsorted(labels, fit.labels)
        there = fit.words.tocoo()
        values = (there.data / len(fits)).astype(np.float32)
        moved = fill_matrix(there.coords[0], columns[there.coords[1]], values, (words.shape[0], len(labels)))
        words = sparse(words + moved)
        vectors[:, columns] += fit.vectors / len(fits)
    return RidgeVotes(labels, words, vectors, fits[0].label_count)
