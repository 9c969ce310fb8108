import numpy as np
import polars as pl
import pytest

from schemas.errors import StorageError
from schemas.student_settings import DistillConfig
from tasks.labels.search import NO_LABEL, Ranking
from tasks.students.calibration import Calibration
from tasks.students.candidates import Student, Texts
from tasks.students.card import write_card
from tasks.students.matrices import Matrix, empty_matrix, fill_matrix
from tasks.students.methods import PHASES
from tasks.students.packing import StudentDescription, pack_student, parameter_count, unpack_student
from tasks.students.prediction import list_predictions, measure_ranking, predict_labels
from tasks.students.training import train_student
from tests.unit.students import material

SETTINGS = DistillConfig(shortlister_steps=12, refiner_steps=8, batch_size=8, shortlist_size=5)
IDS = np.arange(100, 100 + material.LABEL_COUNT, dtype=np.int32)
UIDS = [f"label{i}" for i in range(material.LABEL_COUNT)]


@pytest.fixture(scope="module")
def student() -> Student:
    trained, _ = train_student(
        material.texts(), material.supervision(), material.label_vectors(), SETTINGS, PHASES["mechanistic"], 0
    )
    return trained


def describe(student: Student, uids: tuple[str, ...]) -> StudentDescription:
    return StudentDescription(
        system="mechanistic", seed=0, dataset="tiny", run_id="r1", fingerprint="f", embedder="e", document_tokens=96,
        label_tokens=32, d_model=material.D_MODEL, shortlist_size=5, shortlister_steps=12, refiner_steps=8, batch_size=8,
        learning_rate=2e-3, weight_decay=0.01, temperature=0.05, lambda_p1=0.3, lambda_p2=0.2, label_count=12,
        labels_hash="h", document_count=30, left_out_count=2, dev_document_count=4, dev_metrics={"precision_at_1": 0.5},
        parameter_count=parameter_count(student), train_cpu_s=1.0, remembered_uids=uids,
    )  # fmt: skip


def predict(student: Student, count: int = 12) -> Ranking:
    return predict_labels(student, material.texts(), IDS, material.label_vectors(), SETTINGS.shortlist_size, count)


def test_predict_labels_ranks_all_labels_once_with_falling_scores(student: Student) -> None:
    ranking = predict(student)
    assert sorted(ranking.label_ids[1]) == IDS.tolist()
    assert (np.diff(ranking.scores[1]) <= 0).all()


def test_predict_labels_leaves_pairs_out(student: Student) -> None:
    ranking = predict(student)
    assert 111 not in ranking.label_ids[0]
    assert ranking.label_ids[0, -1] == NO_LABEL


def test_predict_labels_cut_short_is_the_head_of_the_long_list(student: Student) -> None:
    np.testing.assert_array_equal(predict(student, 3).label_ids, predict(student).label_ids[:, :3])


def test_predict_labels_finds_what_it_was_taught(student: Student) -> None:
    taught = [100 + material.answer_of(i) for i in range(material.DOCUMENT_COUNT)]
    assert (predict(student).label_ids[:, 0] == taught).mean() > 0.8


def test_predict_labels_scores_a_label_that_came_after_training(student: Student) -> None:
    arrays, remembered = pack_student(student, UIDS)
    grown = unpack_student(arrays, describe(student, remembered), ["new", *UIDS])
    vectors = np.concatenate([material.texts().vectors[:1], material.label_vectors()])
    texts = material.texts()
    texts = Texts(texts.vectors, texts.counts, widen(texts.wording), widen(texts.barred))
    ranking = predict_labels(grown, texts, np.arange(13, dtype=np.int32), vectors, 5, 13)
    assert 0 in ranking.label_ids[0, :3]
    before, after = predict(student).label_ids[1] - 99, ranking.label_ids[1]
    np.testing.assert_array_equal([i for i in after if i != 0][:3], before[:3])


def widen(matrix: Matrix) -> Matrix:
    """The matrix with an empty column before the first."""
    cells = matrix.tocoo()
    return fill_matrix(cells.row, cells.col + 1, cells.data, (matrix.shape[0], matrix.shape[1] + 1))


def test_unpack_student_predicts_as_before_to_the_bit(student: Student) -> None:
    arrays, remembered = pack_student(student, UIDS)
    again = predict(unpack_student(arrays, describe(student, remembered), UIDS))
    assert again.scores.tobytes() == predict(student).scores.tobytes()


def test_unpack_student_forgets_labels_that_are_gone(student: Student) -> None:
    arrays, remembered = pack_student(student, UIDS)
    memory = unpack_student(arrays, describe(student, remembered), UIDS[1:]).memory
    assert memory.answers.shape == (material.DOCUMENT_COUNT, 11)
    np.testing.assert_array_equal(memory.answers.toarray(), student.memory.answers.toarray()[:, 1:])


def test_unpack_student_refuses_arrays_of_another(student: Student) -> None:
    arrays, remembered = pack_student(student, UIDS)
    wrong = describe(student, remembered).model_copy(update={"d_model": 16})
    with pytest.raises(StorageError, match="mechanistic-seed0: weights and description differ"):
        unpack_student(arrays, wrong, UIDS)


def test_measure_ranking_counts_documents_with_known_targets_only() -> None:
    ranking = Ranking(np.array([[7, 3], [3, NO_LABEL], [3, 7]], np.int32), np.zeros((3, 2), np.float32))
    gold = fill_matrix(np.array([0, 0, 1]), np.array([1, 2, 0]), np.ones(3, np.float32), (3, 3))
    measured = measure_ranking(ranking, np.array([7, 3, 5], np.int32), gold)
    assert measured == pytest.approx({"precision_at_1": 0.0, "recall_at_10": 0.25})


def test_measure_ranking_without_known_targets_says_nothing() -> None:
    ranking = Ranking(np.array([[7]], np.int32), np.zeros((1, 1), np.float32))
    assert measure_ranking(ranking, np.array([7], np.int32), empty_matrix((1, 1))) == {}


def test_list_predictions_skips_padding_and_ranks_from_one() -> None:
    ranking = Ranking(np.array([[7, 3], [3, NO_LABEL]], np.int32), np.array([[2.0, 1.0], [0.5, -np.inf]], np.float32))
    rows = list_predictions(ranking, ["a", "b"])
    expected = [("a", 1, 7, 2.0), ("a", 2, 3, 1.0), ("b", 1, 3, 0.5)]
    assert rows.rows() == expected
    assert rows.schema["document_id"] == pl.String


@pytest.mark.parametrize("system", sorted(PHASES))
def test_write_card_says_what_was_learnt_and_measured(student: Student, system: str) -> None:
    card = write_card(describe(student, ()).model_copy(update={"system": system}))
    assert f"# {system}, seed 0" in card
    assert "precision_at_1: 0.500" in card
    assert "{" not in card


def test_write_card_says_how_well_probabilities_hold_or_that_there_are_none(student: Student) -> None:
    held = Calibration(
        form="sigmoid", numbers=(1.0, 0.5), fit_document_count=60, held_document_count=61, log_loss_nats=0.11, error=0.02,
        error_ci=(0.01, 0.03), error_if_perfect=0.015,
    )  # fmt: skip
    assert "0.0200 (95% interval 0.0100 to 0.0300" in write_card(describe(student, ()).model_copy(update={"calibration": held}))
    assert "None: too few development documents" in write_card(describe(student, ()))
