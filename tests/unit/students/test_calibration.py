import numpy as np
import pytest

from tasks.labels.search import NO_LABEL, Ranking
from tasks.students.calibration import (
    FORMS,
    MIN_DOCUMENTS,
    Calibration,
    Curve,
    Form,
    calibrate,
    calibration_error,
    choose_curve,
    fit_curve,
    log_loss,
    measure_error,
    named_labels,
    shortlist_shares,
)
from tasks.students.matrices import Matrix, empty_matrix, fill_matrix

LABELS, DEPTH = 40, 12
IDS = np.arange(LABELS + 1, dtype=np.int32)


def world(count: int, slope: float = 2.0, seed: int = 0) -> tuple[Ranking, Matrix, np.ndarray]:
    """Shortlists, and answers drawn with the probability sigmoid(slope * log share + 1); also these probabilities.

    The last label is an answer of every document and on no shortlist: all documents count.
    """
    random = np.random.default_rng(seed)
    scores = -np.sort(-random.normal(0, 1.5, (count, DEPTH)).astype(np.float32), axis=1)
    ids = np.stack([random.permutation(LABELS)[:DEPTH] for _ in range(count)]).astype(np.int32)
    ranking = Ranking(ids, scores)
    truth = 1 / (1 + np.exp(-(slope * np.log(shortlist_shares(ranking)) + 1)))
    rows, places = np.nonzero(random.random(truth.shape) < truth)
    rows, columns = np.r_[rows, np.arange(count)], np.r_[ids[rows, places], np.full(count, LABELS)]
    answers = fill_matrix(rows, columns, np.ones(len(rows), np.float32), (count, LABELS + 1))
    return ranking, answers, truth


def calibrated(count: int = 1000, seed: int = 0) -> Calibration:
    ranking, answers, _ = world(count, seed=seed)
    found = calibrate(ranking, IDS, answers, 0)
    assert found is not None
    return found


def test_shortlist_shares_sum_to_one_over_the_labels_there_are() -> None:
    ids = np.array([[3, 5, NO_LABEL], [NO_LABEL] * 3], np.int32)
    shares = shortlist_shares(Ranking(ids, np.array([[1, 0, -np.inf], [-np.inf] * 3], np.float32)))
    first = float(np.e / (1 + np.e))
    assert shares.ravel().tolist() == pytest.approx([first, 1 - first, 0, 0, 0, 0])


def test_named_labels_finds_labels_by_id_whatever_their_column() -> None:
    ids = np.array([7, 3, 5], np.int32)
    answers = fill_matrix(np.array([0, 1]), np.array([0, 2]), np.ones(2, np.float32), (2, 3))
    ranking = Ranking(np.array([[3, 7], [5, NO_LABEL]], np.int32), np.zeros((2, 2), np.float32))
    np.testing.assert_array_equal(named_labels(ranking, ids, answers), [[False, True], [True, False]])


def test_calibrate_finds_the_probabilities_that_were_drawn_with() -> None:
    ranking, answers, truth = world(3000)
    found = calibrate(ranking, IDS, answers, 0)
    assert found is not None
    given = Curve(found.form, found.numbers, found.knots).probabilities(shortlist_shares(ranking))
    assert np.abs(given - truth).mean() < 0.01
    assert (found.fit_document_count, found.held_document_count) == (1500, 1500)


def test_calibrate_takes_no_form_of_many_numbers_from_few_documents() -> None:
    assert all(calibrated(60, seed).form != "isotonic" for seed in range(3))


def test_choose_curve_takes_steps_where_the_truth_has_steps() -> None:
    shares = np.random.default_rng(0).uniform(0.001, 0.999, (2000, 5))
    named = np.random.default_rng(1).random(shares.shape) < np.where(shares < 0.3, 0.05, np.where(shares < 0.6, 0.5, 0.55))
    assert choose_curve(shares, named, named | True, np.arange(2000)).form == "isotonic"


def test_calibrate_gives_the_same_again() -> None:
    assert calibrated() == calibrated()


def test_calibrate_refuses_too_few_documents_with_an_answer() -> None:
    ranking, answers, _ = world(400)
    few, enough = np.arange(2 * MIN_DOCUMENTS - 1), np.arange(2 * MIN_DOCUMENTS)
    assert calibrate(Ranking(ranking.label_ids[few], ranking.scores[few]), IDS, answers[few], 0) is None
    assert calibrate(Ranking(ranking.label_ids[enough], ranking.scores[enough]), IDS, answers[enough], 0) is not None


def test_calibrate_without_an_answer_on_any_shortlist_gives_none() -> None:
    ranking, _, _ = world(100)
    elsewhere = fill_matrix(np.arange(100), np.full(100, LABELS), np.ones(100, np.float32), (100, LABELS + 1))
    assert calibrate(ranking, IDS, elsewhere, 0) is None
    assert calibrate(ranking, IDS, empty_matrix((100, LABELS + 1)), 0) is None


@pytest.mark.parametrize("form", FORMS)
def test_probabilities_never_fall_with_the_share_and_stay_inside(form: Form) -> None:
    ranking, answers, _ = world(60)
    curve = fit_curve(form, shortlist_shares(ranking).ravel(), named_labels(ranking, IDS, answers).ravel())
    given = curve.probabilities(np.linspace(0, 1, 1001))
    assert (np.diff(given) >= 0).all()
    assert ((given > 0) & (given < 1)).all()


def test_fit_curve_that_would_turn_the_order_round_is_flat() -> None:
    shares = np.linspace(0.01, 0.9, 200)
    curve = fit_curve("beta", shares, np.random.default_rng(0).random(200) < 0.5 - 0.4 * shares)
    given = curve.probabilities(shares)
    assert np.ptp(given) < 1e-9


def test_fit_curve_of_pairs_that_all_agree_is_the_share_of_them() -> None:
    given = fit_curve("sigmoid", np.linspace(0.1, 0.9, 10), np.zeros(10, bool)).probabilities(np.array([0.5]))
    assert given[0] == pytest.approx(1e-6)


def test_calibration_error_is_the_gap_of_equally_full_bins() -> None:
    probabilities = np.repeat([0.2, 0.8], 50)
    named = np.r_[np.arange(50) % 5 == 0, np.arange(50) % 2 == 0]  # .2 as said, .5 instead of .8
    assert calibration_error(probabilities, named) == pytest.approx(0.15, abs=1e-9)


def test_measure_error_holds_the_error_and_knows_what_chance_gives() -> None:
    ranking, answers, truth = world(500)
    named = named_labels(ranking, IDS, answers)
    error, (low, high), chance = measure_error(truth, named, named | True, np.random.default_rng(0))
    wrong, *_ = measure_error(truth / 3, named, named | True, np.random.default_rng(0))
    assert low <= error <= high
    assert error < 3 * chance < wrong


def test_log_loss_of_even_odds_is_the_logarithm_of_two() -> None:
    assert log_loss(np.array([0.5, 0.5]), np.array([True, False])) == pytest.approx(np.log(2))
