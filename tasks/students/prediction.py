"""Rank labels with a student: the shortlist in the refiner's order, then the rest in the shortlister's."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from tasks.labels.search import NO_LABEL, LabelIds, Ranking, Vectors, join_rankings
from tasks.students.candidates import Candidates, Student, Texts, candidate_features, list_candidates
from tasks.students.features import Evidence, gather_evidence
from tasks.students.matrices import Matrix

CHUNK = 1024
"""Documents between two reports of progress."""


def predict_labels(
    student: Student,
    texts: Texts,
    label_ids: LabelIds,
    label_vectors: Vectors,
    shortlist_size: int,
    count: int,
    progress: Callable[[int, int], None] | None = None,
) -> Ranking:
    """The `count` best labels of every document, best first, without pairs to leave out.

    Scores are comparable within one document: the refiner's for the shortlist; the labels after it follow at the
    shortlister's distances below the last of it.
    """
    total = len(texts.vectors)
    parts = []
    for start in range(0, total, CHUNK):
        chunk = texts.take(np.arange(start, min(start + CHUNK, total)))
        parts.append(_rank(student, chunk, label_ids, label_vectors, shortlist_size, count))
        if progress:
            progress(min(start + CHUNK, total), total)
    return join_rankings(parts, count)


def measure_ranking(ranking: Ranking, label_ids: LabelIds, gold: Matrix) -> dict[str, float]:
    """`precision_at_1` and `recall_at_10` over the documents with a known target, 0 to 1; empty without such documents.

    Args:
        ranking: labels by id.
        label_ids: id of each column of `gold`.
        gold: known targets [document, label], 1 or 0.
    """
    known = np.asarray(gold.sum(axis=1))
    if not (known > 0).any():
        return {}
    order = np.argsort(label_ids)
    first = ranking.label_ids[:, :10]
    columns = order[np.searchsorted(label_ids, np.maximum(first, label_ids[order[0]]), sorter=order)]
    rows = np.repeat(np.arange(len(first)), first.shape[1])
    hits = np.asarray(gold[rows, columns.ravel()]).reshape(first.shape) * (first != NO_LABEL)
    recall = hits.sum(axis=1)[known > 0] / known[known > 0]
    return {"precision_at_1": float(hits[known > 0, 0].mean()), "recall_at_10": float(recall.mean())}


def list_predictions(ranking: Ranking, document_ids: Sequence[str]) -> pl.DataFrame:
    """A ranking as rows `document_id`, `rank` (from 1), `label_id`, `score`."""
    rows, places = np.nonzero(ranking.label_ids != NO_LABEL)
    return pl.DataFrame(
        {
            "document_id": np.asarray(document_ids, dtype=object)[rows].tolist(),
            "rank": places + 1,
            "label_id": ranking.label_ids[rows, places],
            "score": ranking.scores[rows, places].astype(np.float64),
        },
        schema_overrides={"document_id": pl.String},
    )


def _rank(
    student: Student, texts: Texts, label_ids: LabelIds, label_vectors: Vectors, shortlist_size: int, count: int
) -> Ranking:
    evidence = gather_evidence(student.memory, texts.vectors, texts.counts, texts.wording)
    rows = np.arange(len(texts.vectors))
    found = list_candidates(student.shortlister, texts, evidence, label_vectors, rows, max(shortlist_size, count))
    return refine_candidates(student, texts, evidence, found, label_ids, label_vectors, shortlist_size, count)


def refine_candidates(
    student: Student,
    texts: Texts,
    evidence: Evidence,
    found: Candidates,
    label_ids: LabelIds,
    label_vectors: Vectors,
    shortlist_size: int,
    count: int,
) -> Ranking:
    """The first `shortlist_size` candidates in the refiner's order, then the others; `count` of them.

    Args:
        student: whose refiner and memory.
        texts: documents.
        evidence: of the same documents.
        found: candidates of all of them.
        label_ids: label of each row.
        label_vectors: unit vectors [label, d_model].
        shortlist_size: candidates that are refined.
        count: labels a document.
    """
    shortlist = found.head(shortlist_size)
    features = candidate_features(shortlist, texts, evidence, label_vectors, student.memory)
    with torch.no_grad():
        refined = student.refiner(torch.from_numpy(shortlist.log_probs), torch.from_numpy(features)).numpy()
    scores = _append_rest(np.where(shortlist.is_candidate, refined, np.inf), found.log_probs)
    scores[~found.is_candidate] = -np.inf
    ids = np.where(found.is_candidate, label_ids[found.labels], NO_LABEL)
    order = np.lexsort((ids, -scores), axis=1)[:, :count]
    return Ranking(np.take_along_axis(ids, order, 1).astype(np.int32), np.take_along_axis(scores, order, 1))


def _append_rest(refined: NDArray[np.float32], log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Refined scores, and after them the rest at the shortlister's distances from the shortlist's last label."""
    size = refined.shape[1]
    lowest = np.min(refined, axis=1, keepdims=True)
    rest = lowest + np.minimum(log_probs[:, size:] - log_probs[:, size - 1 : size], 0) - 1e-3
    return np.concatenate([refined, rest], axis=1).astype(np.float32)
