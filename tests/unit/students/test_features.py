import numpy as np
import pytest

from tasks.labels.lexical import LexicalIndex
from tasks.students.features import (
    FEATURES,
    Lessons,
    Memory,
    count_words,
    describe_candidates,
    find_wording,
    gather_evidence,
    mark_words,
    remember,
)
from tasks.students.matrices import Matrix, fill_matrix

TEXTS = ["red apple pie", "green apple pie", "blue sea salt", "blue sea shell"]
VECTORS = np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1], [0, 0.6, 0.8]], np.float32)


def labels(*columns: int) -> Matrix:
    """Document i has the one label `columns[i]` of three."""
    return fill_matrix(np.arange(len(columns)), np.array(columns), np.ones(len(columns), np.float32), (len(columns), 3))


def nothing(count: int) -> Matrix:
    return fill_matrix(np.array([], np.int64), np.array([], np.int64), np.array([], np.float32), (count, 3))


def remembered(own: Matrix, texts: list[str] = TEXTS, listed: Matrix | None = None) -> tuple[Memory, tuple[Matrix, Matrix]]:
    """The memory of documents whose grades and answers are the same."""
    counts = count_words(texts)
    none = nothing(len(texts)) if listed is None else listed
    lessons = Lessons(own, own, none, np.ones(counts.shape[1], np.float32))
    return remember(VECTORS[: len(texts)], counts, lessons)


def test_mark_words_marks_words_and_no_pairs() -> None:
    marked = mark_words(["apple pie apple"])
    assert sorted(marked.indices.tolist()) == sorted(int(count_words([word]).indices[0]) for word in ("apple", "pie"))
    assert set(marked.data.tolist()) == {1.0}


def test_count_words_damps_repetition() -> None:
    once, thrice = count_words(["apple"]), count_words(["apple apple apple"])
    bucket = once.indices[0]
    assert once[0, bucket] == 1
    assert thrice[0, bucket] == pytest.approx(1 + np.log(3))


def test_remember_keeps_words_of_several_documents_only() -> None:
    memory, _ = remembered(labels(0, 0, 1, 2))
    kept = {int(count_words([word]).indices[0]) for word in ("apple", "pie", "blue", "sea")}
    assert kept <= set(memory.buckets.tolist())
    assert int(count_words(["salt"]).indices[0]) not in memory.buckets
    lengths = np.linalg.norm(memory.words.toarray(), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


def test_remember_weighs_words_as_it_is_told() -> None:
    counts, own = count_words(TEXTS), labels(0, 1, 1, 2)
    weights = np.ones(counts.shape[1], np.float32)
    apple, pie = (int(count_words([word]).indices[0]) for word in ("apple", "pie"))
    weights[apple] = 3
    memory, _ = remember(VECTORS, counts, Lessons(own, own, nothing(4), weights))
    first = dict(zip(memory.buckets.tolist(), memory.words.toarray()[0].tolist(), strict=True))
    assert first[apple] == pytest.approx(3 * first[pie])


def test_gather_evidence_keeps_votes_for_answers_and_for_listed_labels_apart() -> None:
    memory, _ = remembered(labels(0, 0, 1, 1), listed=labels(1, 1, 2, 2))
    seen = gather_evidence(memory, VECTORS[:1], count_words(["red apple pie"]), nothing(1))
    assert seen.ridge_votes.toarray()[0].argmax() == 0
    assert seen.listed_votes.toarray()[0].argmax() == 1


def test_gather_evidence_in_training_lets_no_document_vote_for_itself() -> None:
    own = labels(0, 1, 1, 2)
    memory, votes = remembered(own)
    seen = gather_evidence(memory, VECTORS, count_words(TEXTS), nothing(4), votes)
    assert seen.vector_votes[0, 0] == 0
    assert seen.word_votes[0, 0] == 0
    assert seen.word_votes[0, 1] == pytest.approx(1.0)  # only "green apple pie" shares words
    assert seen.ridge_votes[0, 0] == 0
    assert seen.ridge_votes[0, 1] > 0.1


def test_gather_evidence_of_new_documents_follows_the_nearest() -> None:
    own = labels(0, 1, 1, 2)
    memory, _ = remembered(own)
    seen = gather_evidence(memory, VECTORS[:1], count_words(["a blue sea"]), nothing(1))
    weights = np.array([1, 0.8, 0, 0]) ** 4
    np.testing.assert_allclose(seen.vector_votes.toarray()[0], [weights[0], weights[1], 0] / weights.sum(), atol=1e-3)
    assert seen.word_votes.toarray()[0, 0] == 0


def test_gather_evidence_of_a_document_like_no_other_is_empty() -> None:
    memory, _ = remembered(labels(0), TEXTS[:1])
    seen = gather_evidence(memory, np.array([[0, 1, 0]], np.float32), count_words(["xyzzy"]), nothing(1))
    assert seen.vector_votes.nnz == seen.word_votes.nnz == seen.ridge_votes.nnz == seen.listed_votes.nnz == 0


def test_find_wording_gives_columns_by_row_of_the_index() -> None:
    ids = np.array([7, 3, 5], np.int32)
    found = find_wording(LexicalIndex(ids, ["sea salt", "apple pie", "tree"]), ids, ["an apple pie"]).toarray()
    assert found[0].argmax() == 1
    assert found[0, 1] > 0.3


def test_describe_candidates_ranks_and_looks_up_cells() -> None:
    own = labels(0, 0, 1, 2)
    memory, _ = remembered(own)
    evidence = gather_evidence(memory, VECTORS, count_words(TEXTS), own)
    scores = np.array([[-2.0, -1.0]], np.float32)
    candidates, counts = np.array([[1, 0]]), np.array([[1.0, 2.0]], np.float32)
    cosines = np.array([[0.2, 0.1]], np.float32)
    features = describe_candidates(scores, candidates, cosines, evidence, np.array([0]), counts)
    named = dict(zip(FEATURES, features[0].T, strict=True))
    np.testing.assert_allclose(named["log_rank"], np.log([2, 1]))
    np.testing.assert_allclose(named["wording"], [0, 1])
    np.testing.assert_allclose(named["log_answers"], np.log1p([1, 2]))
    assert named["vector_votes"][1] > named["vector_votes"][0]
