"""The quick path of tagging against the one that training and evaluation take."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from schemas.student_settings import DistillConfig
from tasks.labels.embedder import hash_text
from tasks.labels.lexical import LexicalIndex
from tasks.labels.search import NO_LABEL, Ranking
from tasks.students.calibration import Calibration
from tasks.students.candidates import Student, Texts, open_block
from tasks.students.features import count_words, find_wording
from tasks.students.methods import PHASES
from tasks.students.prediction import predict_labels
from tasks.students.ridge import RidgeVotes
from tasks.students.tagging.listing import open_wording
from tasks.students.tagging.quick_memory import quicken
from tasks.students.tagging.rows import TAG_SCHEMA, LabelNames, tag_rows
from tasks.students.tagging.tagger import LeftOut, Tagger
from tasks.students.tagging.vectors import PassingStore
from tasks.students.training import train_student
from tests.unit.students import material

SIZE = 5
IDS = np.arange(100, 100 + material.LABEL_COUNT, dtype=np.int32)
NAMES = [f"label of topic{i} and filler{i % 3}" for i in range(material.LABEL_COUNT)]
WORDS = [f"topic{i % 5} filler{i % 3} again topic{i % 7}" for i in range(material.DOCUMENT_COUNT)]
DOCUMENT_IDS = [f"d{i}" for i in range(material.DOCUMENT_COUNT)]
CALIBRATION = Calibration(
    form="sigmoid", numbers=(1.2, 1.0), fit_document_count=20, held_document_count=20, log_loss_nats=0.1, error=0.02,
    error_ci=(0.01, 0.03), error_if_perfect=0.02,
)  # fmt: skip


def lexical() -> LexicalIndex:
    return LexicalIndex(IDS, NAMES)


def texts() -> Texts:
    given = material.texts()
    return Texts(given.vectors, count_words(WORDS), find_wording(lexical(), IDS, WORDS), given.barred)


@pytest.fixture(scope="module")
def student() -> Student:
    settings = DistillConfig(shortlister_steps=12, refiner_steps=8, batch_size=8, shortlist_size=SIZE)
    supervision, vectors = material.supervision(), material.label_vectors()
    return train_student(texts(), supervision, vectors, settings, PHASES["mechanistic"], 0)[0]


@pytest.fixture
def tagger(student: Student) -> Tagger:
    left_out = {"d0": LeftOut(hash_text(WORDS[0]), np.array([11])), "d1": LeftOut(hash_text("another text"), np.array([1]))}
    return Tagger(
        student=student, shortlist_size=SIZE, calibration=CALIBRATION, label_ids=IDS, label_vectors=material.label_vectors(),
        lexical=lexical(), names=LabelNames(IDS, [f"u{i}" for i in IDS], NAMES).frame(), top=3, floor=0.0, left_out=left_out,
    )  # fmt: skip


def test_open_wording_finds_what_find_wording_finds() -> None:
    quick, slow = open_wording(lexical(), open_block(len(IDS), 2))(WORDS), find_wording(lexical(), IDS, WORDS)
    assert quick.nnz > 0
    np.testing.assert_allclose(quick.toarray(), slow.toarray(), atol=1e-6)


def test_open_wording_without_mkl_takes_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    found = open_wording(lexical(), open_block(len(IDS)))(WORDS)
    np.testing.assert_array_equal(found.toarray(), find_wording(lexical(), IDS, WORDS).toarray())


def test_quick_votes_are_the_votes(student: Student) -> None:
    seen, memory = texts(), student.memory
    words, quick_memory = memory.weigh(seen.counts), quicken(memory)
    for fast, votes in ((quick_memory.ridge, memory.ridge), (quick_memory.listed, memory.listed)):
        quick, slow = fast.vote(words, seen.vectors), votes.vote(words, seen.vectors)
        assert slow.nnz > 0
        np.testing.assert_allclose(quick.toarray(), slow.toarray(), atol=1e-6)


def test_quick_votes_of_no_label_are_none(student: Student) -> None:
    memory = student.memory
    none = RidgeVotes(memory.ridge.labels[:0], memory.ridge.words[:, :0], memory.ridge.vectors[:, :0], material.LABEL_COUNT)
    assert quicken(replace(memory, ridge=none)).ridge.vote(memory.weigh(texts().counts), texts().vectors).nnz == 0


def test_quick_memory_compares_as_the_memory_does(student: Student) -> None:
    seen, memory = texts(), student.memory
    words, quick = memory.weigh(seen.counts), quicken(memory)
    np.testing.assert_allclose(quick.compare_words(words), memory.compare_words(words), atol=1e-6)
    np.testing.assert_allclose(quick.compare_vectors(seen.vectors), memory.compare_vectors(seen.vectors), atol=1e-6)


def test_quicken_without_mkl_leaves_a_memory_as_it_is(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert quicken(student.memory) is student.memory


def test_shortlists_are_those_of_the_evaluation(tagger: Tagger, student: Student) -> None:
    quick = tagger.shortlists(DOCUMENT_IDS, WORDS, texts().vectors)
    slow = predict_labels(student, texts(), IDS, material.label_vectors(), SIZE, SIZE)
    np.testing.assert_array_equal(quick.label_ids, slow.label_ids)
    np.testing.assert_allclose(quick.scores, slow.scores, atol=1e-4)


def test_shortlists_leave_out_labels_of_the_same_document_only(tagger: Tagger) -> None:
    size = material.LABEL_COUNT
    whole = Tagger(**{**tagger.__dict__, "shortlist_size": size})
    found = whole.shortlists(DOCUMENT_IDS, WORDS, texts().vectors)
    assert 111 not in found.label_ids[0]
    assert 101 in found.label_ids[1]  # its id is known, its text is another


def test_tag_gives_rows_by_document_and_rank(tagger: Tagger) -> None:
    rows = tagger.tag(DOCUMENT_IDS[:4], WORDS[:4], texts().vectors[:4])
    assert rows.schema == TAG_SCHEMA
    assert rows["document_id"].to_list() == [name for name in DOCUMENT_IDS[:4] for _ in range(3)]
    assert rows["rank"].to_list() == [1, 2, 3] * 4
    first = rows.row(0, named=True)
    assert (first["label_uid"], first["label_name"]) == (f"u{first['label_id']}", NAMES[first["label_id"] - 100])
    assert rows.group_by("document_id").agg((pl.col("probability").diff() <= 0).all())["probability"].all()


def test_tag_is_the_same_whatever_is_tagged_with_it(tagger: Tagger) -> None:
    vectors = texts().vectors
    alone = tagger.tag(DOCUMENT_IDS[5:6], WORDS[5:6], vectors[5:6])
    among = tagger.tag(DOCUMENT_IDS, WORDS, vectors).filter(pl.col("document_id") == "d5")
    assert alone["label_id"].to_list() == among["label_id"].to_list()
    np.testing.assert_allclose(alone["probability"], among["probability"], rtol=1e-4)


def test_tag_rows_leaves_out_the_improbable_and_what_is_no_label() -> None:
    shortlist = Ranking(np.array([[100, 101, NO_LABEL]], np.int32), np.array([[3.0, 0.0, -np.inf]], np.float32))
    names = LabelNames(IDS, [str(i) for i in IDS], NAMES).frame()
    everything = tag_rows(shortlist, ["a"], names, CALIBRATION, 10, 0.0)
    assert everything["rank"].to_list() == [1, 2]
    floor = float(everything["probability"][1]) + 1e-9
    assert tag_rows(shortlist, ["a"], names, CALIBRATION, 10, floor)["label_id"].to_list() == [100]
    assert tag_rows(shortlist, ["a"], names, CALIBRATION, 10, 1.0).schema == TAG_SCHEMA


class Known:
    """A store with one vector, which must not be written to."""

    identity = "e"

    def missing(self, hashes: list[str]) -> list[str]:
        return [name for name in dict.fromkeys(hashes) if name != "k"]

    def get(self, hashes: list[str]) -> np.ndarray:
        return np.stack([np.full(2, 7, np.float32) for _ in hashes])

    def append(self, hashes: list[str], vectors: np.ndarray) -> None:
        raise AssertionError("tagging stores nothing")


def test_passing_store_takes_what_is_known_and_holds_the_rest_until_emptied() -> None:
    store = PassingStore(Known())  # type: ignore[arg-type]  # lists will do
    assert store.missing(["k", "new", "new"]) == ["new"]
    store.append(["new"], np.ones((1, 2), np.float32))
    assert store.missing(["k", "new"]) == []
    np.testing.assert_array_equal(store.get(["new", "k", "new"]), [[1, 1], [7, 7], [1, 1]])
    store.empty()
    assert store.missing(["new"]) == ["new"]
