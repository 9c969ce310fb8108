"""What both parts of a student see of a document and a label: wording, and the votes of training documents like it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from sklearn.feature_extraction.text import HashingVectorizer

from tasks.labels.lexical import LexicalIndex
from tasks.labels.search import NO_LABEL, LabelIds, Vectors, top_columns
from tasks.students.matrices import Matrix, dense_rows, empty_matrix, fill_matrix, scale_rows, sparse, unit_rows
from tasks.students.ridge import RidgeVotes, fit_each

WORDING_COUNT = 200
"""Labels a document whose wording counts; the others have 0."""

NEIGHBOUR_COUNT = 30
VECTOR_POWER = 4
"""Votes weigh by cosine to this power: embedders put all texts close together."""

BUCKET_BITS = 18
BLOCK = 256

Compared = TypeVar("Compared", Vectors, Matrix)

EVIDENCE = ("wording", "vector_votes", "word_votes", "ridge_votes", "listed_votes")
FEATURES = ("log_prob", "cosine", *EVIDENCE, "log_answers", "log_rank")


def count_words(texts: Sequence[str]) -> Matrix:
    """Hashed counts [text, bucket] of words and word pairs, damped to 1 + ln(count)."""
    hasher = HashingVectorizer(ngram_range=(1, 2), n_features=2**BUCKET_BITS, norm=None, alternate_sign=False, dtype=np.float32)
    counts = sparse(csr_array(hasher.transform(texts)))
    counts.data = (1 + np.log(counts.data)).astype(np.float32)
    return counts


def mark_words(texts: Sequence[str]) -> Matrix:
    """1 for each word [text, bucket] in the buckets of `count_words`, pairs of words left out."""
    hasher = HashingVectorizer(n_features=2**BUCKET_BITS, norm=None, alternate_sign=False, binary=True, dtype=np.float32)
    return sparse(csr_array(hasher.transform(texts))) if texts else empty_matrix((0, 2**BUCKET_BITS))


@dataclass(frozen=True)
class Lessons:
    """What is remembered of training documents besides how they look; all matrices are [document, label].

    Attributes:
        grades: what the shortlister learns, 0 to 1.
        answers: what the refiner learns, 0 or 1.
        listed: candidates of the teacher's shortlist that are no answers, 0 to 1; empty without phase 1.
        word_weights: [bucket], by which words count more or less.
    """

    grades: Matrix
    answers: Matrix
    listed: Matrix
    word_weights: NDArray[np.float32]


@dataclass(frozen=True)
class Memory:
    """The training documents a student remembers: how they look, and what was said about them.

    Attributes:
        vectors: unit vectors [document, d_model], half precision.
        words: unit TF-IDF vectors [document, kept bucket].
        buckets: which buckets of `count_words` are kept.
        idf: inverse document frequency of the kept buckets, times their weights.
        grades: what the shortlister learnt [document, label], 0 to 1.
        answers: what the refiner learnt [document, label], 0 or 1.
        ridge: votes fitted to the answers.
        listed: votes fitted to the rest of the teacher's shortlists.
    """

    vectors: NDArray[np.float16]
    words: Matrix
    buckets: NDArray[np.int32]
    idf: NDArray[np.float32]
    grades: Matrix
    answers: Matrix
    ridge: RidgeVotes
    listed: RidgeVotes

    def weigh(self, counts: Matrix) -> Matrix:
        """Unit TF-IDF vectors of texts from their word counts."""
        return unit_rows(sparse(counts[:, self.buckets].multiply(self.idf)))

    def compare_words(self, words: Matrix) -> NDArray[np.float32]:
        """Cosines [document, remembered document] of texts with these unit TF-IDF vectors."""
        return np.asarray((words @ self.words.T).toarray(), dtype=np.float32)

    def compare_vectors(self, vectors: Vectors) -> NDArray[np.float32]:
        """Cosines [document, remembered document] of texts with these unit vectors."""
        return np.asarray(vectors @ self.vectors.astype(np.float32).T)


@dataclass(frozen=True)
class Evidence:
    """Sparse matrices [document, label], 0 to 1: of the wording, of votes with grades and with answers, and of fitted votes.

    Fitted votes are of answers, and of labels that were shortlisted and are none.
    """

    wording: Matrix
    vector_votes: Matrix
    word_votes: Matrix
    vector_answers: Matrix
    word_answers: Matrix
    ridge_votes: Matrix
    listed_votes: Matrix

    @property
    def listing(self) -> tuple[Matrix, ...]:
        """What the shortlister sees, in the order of `EVIDENCE`."""
        return self.wording, self.vector_votes, self.word_votes, self.ridge_votes, self.listed_votes

    @property
    def refining(self) -> tuple[Matrix, ...]:
        """What the refiner sees, in the same order."""
        return self.wording, self.vector_answers, self.word_answers, self.ridge_votes, self.listed_votes

    def rows(self, rows: NDArray[np.int64], columns: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """The shortlister's evidence as [kind, document, label] for some documents, and all or some labels."""
        return np.stack([dense_rows(kind, rows, columns) for kind in self.listing])


def remember(vectors: Vectors, counts: csr_array, lessons: Lessons) -> tuple[Memory, tuple[Matrix, Matrix]]:
    """The memory of training documents, and for each the fitted votes of all the others: of answers, and of listed labels.

    Words that stand in one document only are not kept.

    Source: smoothed idf ln((1 + n) / (1 + df)) + 1 as in scikit-learn's TfidfVectorizer.
    """
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    buckets = np.flatnonzero(frequency > 1).astype(np.int32)
    idf = (np.log((1 + counts.shape[0]) / (1 + frequency[buckets])) + 1).astype(np.float32) * lessons.word_weights[buckets]
    words = unit_rows(sparse(counts[:, buckets].multiply(idf)))
    (ridge, votes), (listed, listed_votes) = fit_each(words, vectors, (lessons.answers, lessons.listed))
    memory = Memory(vectors.astype(np.float16), words, buckets, idf, lessons.grades, lessons.answers, ridge, listed)
    return memory, (votes, listed_votes)


def find_wording(lexical: LexicalIndex, label_ids: LabelIds, texts: Sequence[str]) -> Matrix:
    """TF-IDF cosines [text, label row] of each text's best labels by wording, as `LexicalIndex` computes them."""
    found = lexical.search(texts, min(WORDING_COUNT, len(label_ids)))
    order = np.argsort(label_ids)
    columns = order[np.searchsorted(label_ids, np.maximum(found.label_ids, label_ids[order[0]]), sorter=order)]
    is_found = (found.label_ids != NO_LABEL) & (found.scores > 0)
    rows = np.nonzero(is_found)[0]
    return fill_matrix(rows, columns[is_found], found.scores[is_found], (len(texts), len(label_ids)))


def gather_evidence(
    memory: Memory,
    vectors: Vectors,
    counts: csr_array,
    wording: csr_array,
    left_out: tuple[Matrix, Matrix] | None = None,
) -> Evidence:
    """Wording and votes for documents.

    Args:
        memory: whose documents vote.
        vectors: unit vectors of the documents.
        counts: their word counts.
        wording: their `find_wording`.
        left_out: the fitted votes from `remember`: the documents are those of the memory, in its order, and none votes for
            itself. Without it they are others.
    """
    is_training, words = left_out is not None, memory.weigh(counts)
    near = _neighbours(vectors, memory.compare_vectors, VECTOR_POWER, is_training)
    alike = _neighbours(words, memory.compare_words, 1, is_training)
    if left_out is None:
        left_out = memory.ridge.vote(words, vectors), memory.listed.vote(words, vectors)
    return Evidence(
        wording=wording,
        vector_votes=sparse(near @ memory.grades),
        word_votes=sparse(alike @ memory.grades),
        vector_answers=sparse(near @ memory.answers),
        word_answers=sparse(alike @ memory.answers),
        ridge_votes=left_out[0],
        listed_votes=left_out[1],
    )


def describe_candidates(
    scores: NDArray[np.float32],
    candidates: NDArray[np.int64],
    cosines: NDArray[np.float32],
    evidence: Evidence,
    rows: NDArray[np.int64],
    answer_counts: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The refiner's features [document, candidate, feature], in the order of `FEATURES`.

    Args:
        scores: log-probabilities of the candidates by the shortlister, [document, candidate].
        candidates: label rows [document, candidate].
        cosines: cosine of document and label vector, untrained, [document, candidate].
        evidence: of all documents; `rows` are those described here.
        rows: see `evidence`.
        answer_counts: how often each candidate is an answer in training, [document, candidate].
    """
    places = np.repeat(rows, candidates.shape[1]), candidates.ravel()
    seen = (np.asarray(kind[places]).reshape(candidates.shape) for kind in evidence.refining)
    rank = 1 + (-scores).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    columns = (scores, cosines, *seen, np.log1p(answer_counts), np.log(rank))
    return np.stack(columns, axis=2).astype(np.float32)


def _neighbours(queries: Compared, compare: Callable[[Compared], NDArray[np.float32]], power: int, is_training: bool) -> Matrix:
    """Weights [query, document] of the nearest documents; each row sums to 1, or is empty where nothing is alike."""
    blocks = []
    for start in range(0, max(1, queries.shape[0]), BLOCK):
        cosines = compare(queries[start : start + BLOCK])
        if is_training:
            place = np.arange(len(cosines))
            cosines[place, start + place] = 0
        blocks.append(_weigh_nearest(cosines, power))
    nearest = sparse(vstack(blocks))
    return scale_rows(nearest, np.asarray(nearest.sum(axis=1)))


def _weigh_nearest(cosines: NDArray[np.float32], power: int) -> Matrix:
    count = min(NEIGHBOUR_COUNT, cosines.shape[1])
    best = top_columns(cosines, count)
    rows = np.repeat(np.arange(len(cosines)), count)
    weights = np.maximum(np.take_along_axis(cosines, best, 1), 0) ** power
    return fill_matrix(rows, best.ravel(), weights.ravel(), cosines.shape)
