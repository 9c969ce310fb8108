"""A document's shortlist as the refiner sees it: label rows, the shortlister's log-probabilities, features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.labels.search import NO_LABEL, Vectors, top_scores
from tasks.students.features import BLOCK, Evidence, Memory, describe_candidates
from tasks.students.matrices import Matrix, dense_rows
from tasks.students.networks import Refiner, Shortlister

BLOCK_CELLS = 2**24
"""Cells of a block of scores: a block takes some hundred MB, however many labels there are."""

BOOST = 1e6
"""Added to the score of a label that must be on the list; above any log-probability."""


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
) -> Candidates:
    """The `count` best labels of the documents `rows`; scores of all labels are computed, block by block.

    Args:
        shortlister: scores all labels.
        texts: documents.
        evidence: of the same documents.
        label_vectors: unit vectors [label, d_model].
        rows: which documents.
        count: candidates a document.
        forced: labels [document of `texts`, label] that are on the list whatever their score.
    """
    labels = torch.from_numpy(label_vectors)
    parts = []
    size = max(1, min(BLOCK, BLOCK_CELLS // len(label_vectors)))
    with torch.no_grad():
        for start in range(0, len(rows), size):
            block = rows[start : start + size]
            scores = shortlister(
                torch.from_numpy(texts.vectors[block]), labels, torch.from_numpy(evidence.rows(block))
            ).masked_fill(torch.from_numpy(dense_rows(texts.barred, block) > 0), float("-inf"))
            log_probs = torch.log_softmax(scores, dim=1).numpy()
            wanted = log_probs if forced is None else log_probs + BOOST * dense_rows(forced, block)
            parts.append(_best(log_probs, wanted, min(count, len(label_vectors))))
    return join_candidates(parts)


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


def _best(log_probs: NDArray[np.float32], wanted: NDArray[np.float32], count: int) -> Candidates:
    width = log_probs.shape[1]
    ranking = top_scores(wanted, np.arange(width, dtype=np.int32), count)
    is_candidate = ranking.label_ids != NO_LABEL
    labels = np.maximum(ranking.label_ids, 0).astype(np.int64)
    found = np.where(is_candidate, np.take_along_axis(log_probs, labels, 1), 0)
    return Candidates(labels, found.astype(np.float32), is_candidate)
