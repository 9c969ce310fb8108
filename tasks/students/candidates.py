"""A document's shortlist as the refiner sees it: label rows, the shortlister's log-probabilities, features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.labels.search import Vectors, top_columns
from tasks.students.features import BLOCK, Evidence, Memory, describe_candidates
from tasks.students.matrices import Cells, Matrix, add_weighted, dense_rows, filled_cells
from tasks.students.networks import Refiner, Shortlister

BLOCK_CELLS = 2**24
"""Cells of a block of scores: a block takes some hundred MB, however many labels there are."""

BOOST = 1e6
"""Added to the score of a label that must be on the list; far above any score."""


@dataclass(frozen=True)
class Texts:
    """Documents as a student reads them, row by row.

    Attributes:
        vectors: unit vectors [document, d_model].
        counts: `count_words` of their texts.
        wording: `find_wording` of their texts, [document, label].
        barred: pairs to leave out, [document, label].
    """

    vectors: Vectors
    counts: Matrix
    wording: Matrix
    barred: Matrix

    def take(self, rows: NDArray[np.int64]) -> "Texts":
        """The same of some documents, in the order of `rows`."""
        return Texts(self.vectors[rows], self.counts[rows], self.wording[rows], self.barred[rows])


@dataclass(frozen=True)
class Student:
    """A trained student: two networks, and what it remembers."""

    shortlister: Shortlister
    refiner: Refiner
    memory: Memory


@dataclass(frozen=True)
class Candidates:
    """The best labels of documents by a shortlister, best first; arrays are [document, candidate].

    Attributes:
        labels: label rows; 0 where `is_candidate` is False.
        log_probs: the shortlister's log-probability over all labels that are not left out; 0 where there is no candidate.
        is_candidate: False where a document has fewer candidates.
    """

    labels: NDArray[np.int64]
    log_probs: NDArray[np.float32]
    is_candidate: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> "Candidates":
        """Those of some documents, in the order of `rows`."""
        return Candidates(self.labels[rows], self.log_probs[rows], self.is_candidate[rows])

    def cells(self, matrix: Matrix) -> NDArray[np.float32]:
        """Cells of a [document, label] matrix at the candidates, 0 where there is none."""
        rows = np.repeat(np.arange(len(self.labels)), self.labels.shape[1])
        cells = np.asarray(matrix[rows, self.labels.ravel()], dtype=np.float32).reshape(self.labels.shape)
        return np.where(self.is_candidate, cells, 0).astype(np.float32)

    def head(self, count: int) -> "Candidates":
        """The first `count` of every document."""
        return Candidates(self.labels[:, :count], self.log_probs[:, :count], self.is_candidate[:, :count])


def list_candidates(
    shortlister: Shortlister,
    texts: Texts,
    evidence: Evidence,
    label_vectors: Vectors,
    rows: NDArray[np.int64],
    count: int,
    forced: Matrix | None = None,
    block: Tensor | None = None,
) -> Candidates:
    """The `count` best labels of the documents `rows`; all labels are scored, block by block.

    Ties are in the order of label rows; of equal labels at the end of a list any may stand there.

    Evidence is nearly everywhere 0, so it is added where it is not: the scores of `Shortlister.forward` but for the last bits.

    Args:
        shortlister: scores all labels.
        texts: documents.
        evidence: of the same documents.
        label_vectors: unit vectors [label, d_model].
        rows: which documents.
        count: candidates a document.
        forced: labels [document of `texts`, label] that are on the list whatever their score, before all others.
        block: written to, from `open_block`, by those who list again and again: its pages are then taken once.
    """
    labels = torch.from_numpy(label_vectors)
    block = open_block(len(labels), len(rows)) if block is None else block
    size = max(1, len(block))
    parts = []
    with torch.no_grad():
        weights = shortlister.log_weights.exp().numpy()
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            moved = shortlister.move(torch.from_numpy(texts.vectors[chosen])) * shortlister.log_scale.exp()
            scores = torch.mm(moved, labels.T, out=block[: len(chosen)])
            weighted = add_weighted([kind[chosen] for kind in evidence.listing], weights)
            cells = scores.numpy()
            cells[filled_cells(weighted)] += weighted.data
            cells[filled_cells(texts.barred[chosen])] = -np.inf
            wanted = None if forced is None else filled_cells(forced[chosen])
            parts.append(_best(scores, wanted, min(count, len(labels))))
    return join_candidates(parts)


def open_block(label_count: int, document_count: int = BLOCK) -> Tensor:
    """A block [document, label] for the scores of some documents at a time; its numbers mean nothing yet."""
    return torch.empty(min(document_count, max(1, min(BLOCK, BLOCK_CELLS // label_count))), label_count)


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """Candidates of the documents of all parts, one part below the other."""
    return Candidates(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.log_probs for part in parts]),
        np.concatenate([part.is_candidate for part in parts]),
    )


def candidate_features(
    candidates: Candidates,
    texts: Texts,
    evidence: Evidence,
    label_vectors: Vectors,
    memory: Memory,
    is_training: bool = False,
) -> NDArray[np.float32]:
    """Features [document, candidate, feature] of all documents of `texts`, for the refiner.

    Args:
        candidates: of all documents, in order.
        texts: documents.
        evidence: of the same documents.
        label_vectors: unit vectors [label, d_model].
        memory: whose answers count.
        is_training: the documents are those of the memory; a document's own answers do not count.
    """
    answer_counts = memory.answers.sum(axis=0).astype(np.float32)
    parts = []
    for start in range(0, len(candidates.labels), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(candidates.labels)))
        labels = candidates.labels[rows]
        cosines = np.einsum("nd,nkd->nk", texts.vectors[rows], label_vectors[labels])
        counts = answer_counts[labels]
        if is_training:
            counts = counts - np.take_along_axis(dense_rows(memory.answers, rows), labels, 1)
        parts.append(describe_candidates(candidates.log_probs[rows], labels, cosines, evidence, rows, counts))
    return np.concatenate(parts)


def _best(scores: Tensor, wanted: Cells | None, count: int) -> Candidates:
    """The best labels of every row of scores, those at the cells `wanted` before the others; `scores` is written to."""
    total = torch.stack([torch.logsumexp(row, dim=0, keepdim=True) for row in scores]).numpy()  # a row fits into a core's cache
    cells = scores.numpy()
    known = None if wanted is None else cells[wanted]
    if wanted is not None:
        cells[wanted] += BOOST
    labels = top_columns(cells, count)
    is_other = np.take_along_axis(cells, labels, 1) < BOOST / 2
    if wanted is not None:
        cells[wanted] = known
    log_probs = np.take_along_axis(cells, labels, 1) - total
    order = np.lexsort((labels, -log_probs, is_other), axis=1)
    found = np.take_along_axis(log_probs, order, 1)
    is_candidate = np.isfinite(found)
    listed = np.where(is_candidate, np.take_along_axis(labels, order, 1), 0)
    return Candidates(listed, np.where(is_candidate, found, 0).astype(np.float32), is_candidate)
