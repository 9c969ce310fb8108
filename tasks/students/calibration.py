"""Scores made probabilities: what share of labels with such a score the supervision names, learnt on development documents.

A form is chosen by log loss across parts of one half of these documents; the other half says how well it holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from tasks.labels.search import NO_LABEL, LabelIds, Ranking
from tasks.students.matrices import Matrix, filled_rows

Form = Literal["sigmoid", "beta", "isotonic"]
FORMS: tuple[Form, ...] = ("sigmoid", "beta", "isotonic")
"""2, 3 and as many numbers as the scores have steps; of forms that do equally well the first is taken."""

MIN_DOCUMENTS = 20
"""Fewer documents in each half than this give no calibration."""

FOLDS = 5
BIN_COUNT = 10
RESAMPLE_COUNT = 1000
MEASURED_COUNT = 10
"""Labels a document whose probabilities are judged: as many as `ctd tag` writes unless told otherwise."""

FLOOR = 1e-6
"""Shares and probabilities stay this far from 0 and 1."""

Floats = NDArray[np.float64]


class Calibration(BaseModel):
    """How a label's share of its document's shortlist becomes a probability, and how well that holds.

    `numbers` are slopes and offset of the sigmoid and beta forms; the isotonic form is linear between `knots` (logarithms of
    shares), where it is `numbers`. `error` is the expected calibration error on documents it was not fitted on, `error_ci` its
    95% interval, `error_if_perfect` what chance alone gives there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Form
    numbers: tuple[float, ...]
    knots: tuple[float, ...] = ()
    fit_document_count: int
    held_document_count: int
    log_loss_nats: float
    error: float
    error_ci: tuple[float, float]
    error_if_perfect: float


@dataclass(frozen=True)
class Curve:
    """A fitted form; `numbers` and `knots` as in `Calibration`."""

    form: Form
    numbers: tuple[float, ...]
    knots: tuple[float, ...] = ()

    def probabilities(self, shares: Floats) -> Floats:
        """Probabilities of labels with these shares, of any shape; a larger share never has a smaller one."""
        log_shares = np.log(np.clip(shares, FLOOR, 1))
        if self.form == "isotonic":
            return _inner(np.interp(log_shares, self.knots, self.numbers))
        *slopes, offset = self.numbers
        logits = _terms(self.form, shares) @ np.asarray(slopes) + offset
        return _inner(1 / (1 + np.exp(-logits)))


def shortlist_shares(ranking: Ranking) -> Floats:
    """Softmax of a student's scores over its shortlist, [document, rank]; 0 where there is no label.

    Args:
        ranking: the shortlist and no label after it.
    """
    scores = ranking.scores.astype(np.float64)
    shares = np.exp(scores - np.maximum(scores[:, :1], -1e30))
    shares[ranking.label_ids == NO_LABEL] = 0
    return np.asarray(shares / np.maximum(shares.sum(axis=1, keepdims=True), FLOOR))


def named_labels(ranking: Ranking, label_ids: LabelIds, answers: Matrix) -> NDArray[np.bool_]:
    """True where a ranked label is among the answers, [document, rank].

    Args:
        ranking: labels by id.
        label_ids: id of each column of `answers`.
        answers: [document, label], 1 or 0.
    """
    order = np.argsort(label_ids)
    wanted = np.maximum(ranking.label_ids, label_ids[order[0]])
    columns = order[np.searchsorted(label_ids, wanted, sorter=order)]
    rows = np.repeat(np.arange(len(wanted)), wanted.shape[1])
    cells = np.asarray(answers[rows, columns.ravel()]).reshape(wanted.shape)
    return np.asarray((cells > 0) & (ranking.label_ids != NO_LABEL), dtype=np.bool_)


def calibrate(ranking: Ranking, label_ids: LabelIds, answers: Matrix, seed: int) -> Calibration | None:
    """A calibration from development documents, or None where fewer than 40 of them have an answer.

    Args:
        ranking: the student's shortlists of the development documents.
        label_ids: id of each column of `answers`.
        answers: what the supervision names, [document, label].
        seed: draws the halves and the resamples.
    """
    random = np.random.default_rng(seed)
    rows = random.permutation(np.flatnonzero(filled_rows(answers)))
    fit, held = rows[::2], rows[1::2]
    if len(held) < MIN_DOCUMENTS:
        return None
    shares, named = shortlist_shares(ranking), named_labels(ranking, label_ids, answers)
    is_label = ranking.label_ids != NO_LABEL
    if not named[fit].any():
        return None
    curve = choose_curve(shares, named, is_label, fit)
    probabilities = curve.probabilities(shares)
    judged = [held_rows(matrix, held) for matrix in (probabilities, named, is_label)]
    error, ci, chance = measure_error(judged[0], judged[1] > 0, judged[2] > 0, random)
    return Calibration(
        form=curve.form,
        numbers=curve.numbers,
        knots=curve.knots,
        fit_document_count=len(fit),
        held_document_count=len(held),
        log_loss_nats=log_loss(probabilities[held][is_label[held]], named[held][is_label[held]]),
        error=error,
        error_ci=ci,
        error_if_perfect=chance,
    )


def held_rows(matrix: NDArray[np.generic], rows: NDArray[np.int64]) -> Floats:
    """The judged part of a matrix [document, rank]: some documents, the first ranks."""
    return np.asarray(matrix[rows, :MEASURED_COUNT], dtype=np.float64)


def choose_curve(shares: Floats, named: NDArray[np.bool_], is_label: NDArray[np.bool_], rows: NDArray[np.int64]) -> Curve:
    """The form of least log loss on documents it was not fitted on, fitted on all of `rows`."""

    def pairs(chosen: NDArray[np.int64]) -> tuple[Floats, NDArray[np.bool_]]:
        return shares[chosen][is_label[chosen]], named[chosen][is_label[chosen]]

    losses = []
    for form in FORMS:
        parts = [rows[part::FOLDS] for part in range(FOLDS)]
        unseen = []
        for part in parts:
            curve = fit_curve(form, *pairs(np.setdiff1d(rows, part)))
            given, truth = pairs(part)
            unseen.append(log_loss(curve.probabilities(given), truth))
        losses.append(float(np.mean(unseen)))
    return fit_curve(FORMS[int(np.argmin(losses))], *pairs(rows))


def fit_curve(form: Form, shares: Floats, named: NDArray[np.bool_]) -> Curve:
    """One form fitted to pairs by maximum likelihood; slopes are not negative, so that the order of labels stays.

    Source: sigmoid, Platt 1999, on the logarithm of the share; beta, Kull et al. 2017, section 4; isotonic, Zadrozny and
    Elkan 2002.
    """
    if form == "isotonic":
        fitted = IsotonicRegression(y_min=FLOOR, y_max=1 - FLOOR, out_of_bounds="clip")
        fitted.fit(np.log(np.clip(shares, FLOOR, 1)), named.astype(np.float64))
        return Curve(form, _floats(fitted.y_thresholds_), _floats(fitted.X_thresholds_))
    if not named.any() or named.all():
        share = float(np.clip(named.mean(), FLOOR, 1 - FLOOR))
        return Curve("sigmoid", (0.0, float(np.log(share / (1 - share)))))
    terms = _terms(form, shares)
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(terms, named)
    if (fitted.coef_ < 0).any():
        return fit_curve("sigmoid", shares, named) if form == "beta" else Curve("sigmoid", (0.0, float(fitted.intercept_[0])))
    return Curve(form, _floats([*fitted.coef_[0], fitted.intercept_[0]]))


def log_loss(probabilities: Floats, named: NDArray[np.bool_]) -> float:
    """Mean negative log-likelihood in nats per pair."""
    return float(-np.log(np.where(named, probabilities, 1 - probabilities)).mean())


def measure_error(
    probabilities: Floats, named: NDArray[np.bool_], is_label: NDArray[np.bool_], random: np.random.Generator
) -> tuple[float, tuple[float, float], float]:
    """Expected calibration error, its 95% interval over documents, and its mean if the probabilities were right.

    Args:
        probabilities: [document, rank].
        named: [document, rank].
        is_label: [document, rank].
        random: draws documents, and outcomes.
    """
    count = len(probabilities)
    draws = [random.integers(0, count, count) for _ in range(RESAMPLE_COUNT)]
    errors = [calibration_error(probabilities[rows][is_label[rows]], named[rows][is_label[rows]]) for rows in draws]
    flat = probabilities[is_label]
    chance = [calibration_error(flat, random.random(len(flat)) < flat) for _ in range(RESAMPLE_COUNT // BIN_COUNT)]
    low, high = np.quantile(errors, (0.025, 0.975))
    return calibration_error(flat, named[is_label]), (float(low), float(high)), float(np.mean(chance))


def calibration_error(probabilities: Floats, named: NDArray[np.bool_]) -> float:
    """Mean |probability - share named| over 10 bins of equally many pairs, 0 to 1.

    Source: Naeini et al. 2015, with bins of equal mass as in Nixon et al. 2019.
    """
    order = np.argsort(probabilities, kind="stable")
    bins = np.array_split(order, BIN_COUNT)
    gaps = [abs(probabilities[part].sum() - named[part].sum()) for part in bins]
    return float(sum(gaps) / max(len(order), 1))


def _terms(form: Form, shares: Floats) -> Floats:
    """What the slopes weigh, [..., term]: the share's logarithm; in the beta form also that of the rest, negated."""
    inner = _inner(shares)
    terms = [np.log(inner)] if form == "sigmoid" else [np.log(inner), -np.log(1 - inner)]
    return np.stack(terms, axis=-1)


def _inner(values: Floats) -> Floats:
    return np.asarray(np.clip(values, FLOOR, 1 - FLOOR), dtype=np.float64)


def _floats(values: Sequence[float] | Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
