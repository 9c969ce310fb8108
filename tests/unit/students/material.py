"""A small made-up world: documents near their labels, near misses beside them."""

import numpy as np
import polars as pl

from tasks.labels.search import Vectors
from tasks.students.anchors import read_anchors
from tasks.students.candidates import Texts
from tasks.students.features import count_words
from tasks.students.matrices import empty_matrix, fill_matrix
from tasks.students.supervision import Pairs, Supervision, read_supervision

LABEL_COUNT = 12
DOCUMENT_COUNT = 30
D_MODEL = 8
WORDS = [f"topic{i % 5} filler{i % 3}" for i in range(DOCUMENT_COUNT)]


def unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def label_vectors() -> Vectors:
    return unit(np.random.default_rng(7).standard_normal((LABEL_COUNT, D_MODEL)).astype(np.float32))


def answer_of(document: int) -> int:
    return document % LABEL_COUNT


def pairs() -> Pairs:
    return Pairs(tuple(f"d{i}" for i in range(DOCUMENT_COUNT)), np.arange(LABEL_COUNT, dtype=np.int32))


def texts() -> Texts:
    """Document i is near its label; label 11 is to be left out of document 0."""
    noise = np.random.default_rng(8).standard_normal((DOCUMENT_COUNT, D_MODEL)).astype(np.float32)
    vectors = unit(label_vectors()[[answer_of(i) for i in range(DOCUMENT_COUNT)]] + 0.8 * unit(noise))
    barred = fill_matrix(np.array([0]), np.array([11]), np.ones(1, np.float32), (DOCUMENT_COUNT, LABEL_COUNT))
    return Texts(vectors, count_words(WORDS), empty_matrix((DOCUMENT_COUNT, LABEL_COUNT)), barred)


def ranked(labels: list[list[int]]) -> pl.DataFrame:
    rows = [(f"t{i}", f"d{i}", rank, label) for i, own in enumerate(labels) for rank, label in enumerate(own, 1)]
    return pl.DataFrame(rows, schema=["trace_id", "document_id", "rank", "label_id"], orient="row").cast({"label_id": pl.Int32})


def supervision() -> Supervision:
    """Each document's label is kept, the two after it are shortlisted and dropped."""
    answers = [[answer_of(i)] for i in range(DOCUMENT_COUNT)]
    shortlist = [[answer_of(i + k) for k in range(3)] for i in range(DOCUMENT_COUNT)]
    steps = pl.DataFrame(
        [(f"d{i}", "keep", answer_of(i), None) for i in range(DOCUMENT_COUNT)]
        + [(f"d{i}", "drop", answer_of(i), answer_of(i + k)) for i in range(DOCUMENT_COUNT) for k in (1, 2)],
        schema={"document_id": pl.String, "verdict": pl.String, "target_label_id": pl.Int32, "near_miss_label_id": pl.Int32},
        orient="row",
    )
    told = steps.with_columns(
        step_text=pl.format('the word "topic{}" tells', pl.col("document_id").str.slice(1).cast(pl.Int32) % 5 % 3)
    )
    anchors = read_anchors(pairs().document_ids, WORDS, {}, told)
    return read_supervision(pairs(), texts().barred, ranked(answers), ranked(shortlist), steps, anchors)
