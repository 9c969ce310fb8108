import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from tasks.labels.search import Vectors
from tasks.students import ridge
from tasks.students.matrices import Matrix, fill_matrix, sparse, unit_rows
from tasks.students.ridge import PENALTY, VECTOR_SHARE, RidgeVotes, fit_each, keep_largest

COUNT, WORDS, DIMENSIONS, LABELS = 40, 25, 6, 9
Material = tuple[Matrix, Vectors, Matrix]


def fit_votes(words: Matrix, vectors: Vectors, answers: Matrix, part_documents: int = 8000) -> tuple[RidgeVotes, Matrix]:
    """Of one kind of target."""
    return fit_each(words, vectors, [answers], part_documents)[0]


@pytest.fixture
def documents() -> Material:
    """Words, vectors, and answers that both tell something of; labels 0 and 8 have no document."""
    random = np.random.default_rng(3)
    words = unit_rows(sparse((random.random((COUNT, WORDS)) < 0.2) * random.random((COUNT, WORDS))))
    vectors = random.standard_normal((COUNT, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = 1 + (words[:, : LABELS - 2].toarray() + 0.3 * vectors[:, :1]).argmax(axis=1)
    return words, vectors, fill_matrix(np.arange(COUNT), columns, np.ones(COUNT, np.float32), (COUNT, LABELS))


def part(material: Material, rows: NDArray[np.int64]) -> Material:
    words, vectors, answers = material
    return sparse(words[rows]), vectors[rows], sparse(answers[rows])


def test_fit_each_is_a_ridge_classifier_of_every_label(documents: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "LEAST_WEIGHT", 0)
    words, vectors, answers = documents
    both = np.hstack([words.toarray(), np.sqrt(VECTOR_SHARE) * vectors])
    expected = Ridge(alpha=PENALTY, fit_intercept=False).fit(both, answers.toarray()).predict(both)
    votes = fit_votes(*documents)[0].vote(words, vectors)
    np.testing.assert_allclose(votes.toarray(), np.where(expected > 1e-3, np.minimum(expected, 1), 0), atol=2e-3)


def test_fit_each_leaves_each_training_document_out(documents: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "LEAST_WEIGHT", 0)
    _, left_out = fit_votes(*documents)
    for row in (0, 17):
        others, _ = fit_votes(*part(documents, np.delete(np.arange(COUNT), row)))
        words, vectors, _ = part(documents, np.array([row]))
        np.testing.assert_allclose(left_out[[row]].toarray(), others.vote(words, vectors).toarray(), atol=2e-3)


def test_fit_each_drops_small_weights_and_hardly_changes_votes(documents: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    words, vectors, _ = documents
    fit = fit_votes(*documents)[0]
    monkeypatch.setattr(ridge, "LEAST_WEIGHT", 0)
    whole = fit_votes(*documents)[0]
    assert fit.words.nnz < whole.words.nnz
    np.testing.assert_allclose(fit.vote(words, vectors).toarray(), whole.vote(words, vectors).toarray(), atol=0.02)


def test_fit_each_in_parts_is_the_mean_of_the_parts(documents: Material) -> None:
    words, vectors, _ = documents
    fit, left_out = fit_votes(*documents, part_documents=20)
    rows = np.random.default_rng(0).permutation(COUNT)
    parts = [np.sort(half) for half in np.array_split(rows, 2)]
    first, second = (fit_votes(*part(documents, half)) for half in parts)
    mean = (first[0].vote(words, vectors).toarray() + second[0].vote(words, vectors).toarray()) / 2
    np.testing.assert_allclose(fit.vote(words, vectors).toarray(), mean, atol=0.1)  # negative scores are cut before the mean
    assert np.corrcoef(fit.vote(words, vectors).toarray().ravel(), mean.ravel())[0, 1] > 0.97
    own = (first[1].toarray() + second[0].vote(*part(documents, parts[0])[:2]).toarray()) / 2
    np.testing.assert_allclose(left_out[parts[0]].toarray(), own, atol=1e-6)


def test_fit_each_gives_labels_without_documents_no_vote(documents: Material) -> None:
    fit, left_out = fit_votes(*documents)
    votes = fit.vote(*documents[:2]).toarray()
    assert fit.labels.tolist() == sorted(set(documents[2].indices.tolist()))
    assert not votes[:, [0, 8]].any()
    assert not left_out[:, [0, 8]].toarray().any()


def test_fit_each_without_answers_never_votes(documents: Material) -> None:
    words, vectors, answers = documents
    fit, left_out = fit_votes(words, vectors, sparse(answers * 0))
    assert fit.vote(words, vectors).nnz == left_out.nnz == 0


def test_keep_largest_keeps_what_is_above_zero_and_at_most_one() -> None:
    scores = np.array([[-0.5, 0.25, 1.5], [0, 0.5, -1]], np.float32)
    found = keep_largest(scores, np.array([2, 0, 3]), 5).toarray()
    np.testing.assert_allclose(found, [[0.25, 0, 0, 1, 0], [0.5, 0, 0, 0, 0]])


@pytest.mark.parametrize("part_documents", [8000, 20])
def test_fit_each_fits_every_kind_as_if_alone(documents: Material, part_documents: int) -> None:
    words, vectors, answers = documents
    others = sparse(answers[::-1])
    both = fit_each(words, vectors, [answers, others], part_documents)
    for kind, (fit, left_out) in zip((answers, others), both, strict=True):
        alone, votes = fit_votes(words, vectors, kind, part_documents)
        np.testing.assert_array_equal(fit.vote(words, vectors).toarray(), alone.vote(words, vectors).toarray())
        np.testing.assert_array_equal(left_out.toarray(), votes.toarray())
