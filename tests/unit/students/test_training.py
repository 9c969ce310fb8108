from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schemas.errors import TrainingError
from schemas.student_settings import DistillConfig
from tasks.students import training
from tasks.students.candidates import Student, list_candidates
from tasks.students.features import gather_evidence
from tasks.students.matrices import dense_rows, fill_matrix
from tasks.students.methods import PHASES
from tasks.students.packing import parameter_count
from tasks.students.supervision import without_phases
from tasks.students.training import StepLoss, draw_batches, one_cycle, sample_labels, train_student
from tests.unit.students import material

SETTINGS = DistillConfig(shortlister_steps=12, refiner_steps=8, batch_size=8, shortlist_size=6)
Weights = dict[str, NDArray[np.float32]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(method: str, seed: int = 0, settings: DistillConfig = SETTINGS) -> tuple[Student, list[StepLoss]]:
    phases = PHASES[method]
    seen = without_phases(material.supervision(), phases.has_p1, phases.has_p2)
    return train_student(material.texts(), seen, material.label_vectors(), settings, phases, seed)


def weights(student: Student) -> Weights:
    parts = {"shortlister": student.shortlister, "refiner": student.refiner}
    return {f"{part}.{name}": t.numpy() for part, network in parts.items() for name, t in network.state_dict().items()}


def differ(one: Student, other: Student, part: str) -> bool:
    mine, yours = weights(one), weights(other)
    return any(not np.array_equal(mine[name], yours[name]) for name in mine if name.startswith(f"{part}.narrow"))


def test_train_student_is_the_same_to_the_bit_for_the_same_seed() -> None:
    first, second = weights(train("mechanistic")[0]), weights(train("mechanistic")[0])
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_train_student_differs_for_another_seed() -> None:
    assert differ(train("answers", seed=0)[0], train("answers", seed=1)[0], "shortlister")


def test_train_student_has_as_many_parameters_for_every_method() -> None:
    assert len({parameter_count(train(method)[0]) for method in PHASES}) == 1


def test_train_student_sees_the_same_batches_for_every_method(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, list[NDArray[np.int64]]] = {}
    for method in PHASES:
        seen: list[NDArray[np.int64]] = []

        def record(*args: int, seen: list[NDArray[np.int64]] = seen) -> NDArray[np.int64]:
            seen.append(draw_batches(*args))
            return seen[-1]

        monkeypatch.setattr(training, "draw_batches", record)
        train(method)
        drawn[method] = seen
    for batches in drawn.values():
        assert len(batches) == 4  # the shortlister, one a fold, the refiner
        assert all(np.array_equal(mine, first) for mine, first in zip(batches, drawn["answers"], strict=True))


def test_train_student_without_phases_learns_nothing_from_the_shortlist_or_verdicts() -> None:
    """The same answers with and without grades and verdicts at hand: a method without phases must not look."""
    phases = PHASES["answers"]
    blind = without_phases(material.supervision(), has_p1=False, has_p2=False)
    student, _ = train_student(material.texts(), blind, material.label_vectors(), SETTINGS, phases, 0)
    assert not differ(student, train("answers")[0], "shortlister")
    assert not differ(student, train("answers")[0], "refiner")


def test_train_student_phase_one_moves_the_shortlister() -> None:
    assert differ(train("mechanistic-no-p2")[0], train("answers")[0], "shortlister")


def test_train_student_phase_two_moves_the_refiner_only() -> None:
    assert not differ(train("mechanistic-no-p1")[0], train("answers")[0], "shortlister")
    assert differ(train("mechanistic-no-p1")[0], train("answers")[0], "refiner")


def test_train_student_weighs_the_words_the_teacher_goes_by_in_phase_one() -> None:
    plain, told, drawn = (train(method)[0].memory.idf for method in ("answers", "mechanistic", "mechanistic-random-anchors"))
    assert (train("mechanistic-no-p1")[0].memory.idf == plain).all()
    assert (told != plain).any()
    assert (drawn != told).any()


def test_train_student_lists_what_the_teacher_listed_in_phase_one_only() -> None:
    assert len(train("mechanistic")[0].memory.listed.labels)
    assert not len(train("mechanistic-no-p1")[0].memory.listed.labels)


def test_train_student_logs_the_terms_and_their_weighted_sum() -> None:
    losses = {(s.component, s.train_step, s.loss_name): s.loss_nats for s in train("mechanistic")[1]}
    assert {step for part, step, _ in losses if part == "shortlister"} == {0, 10, 11}
    for part, term, weight in (
        ("shortlister", "shortlist_loss", SETTINGS.lambda_p1),
        ("refiner", "verdict_loss", SETTINGS.lambda_p2),
    ):
        total = losses[part, 0, "answer_loss"] + weight * losses[part, 0, term]
        assert losses[part, 0, "total_loss"] == pytest.approx(total, rel=1e-5)


def test_train_student_lowers_the_loss() -> None:
    _, steps = train("answers", settings=SETTINGS.model_copy(update={"shortlister_steps": 100, "batch_size": 30}))
    totals = [step.loss_nats for step in steps if step.component == "shortlister" and step.loss_name == "total_loss"]
    assert totals[-1] < 0.7 * totals[0]
    assert totals == sorted(totals, reverse=True)


def test_train_student_refuses_a_loss_that_is_not_finite() -> None:
    broken = material.label_vectors()
    broken[0, 0] = np.nan
    with pytest.raises(TrainingError, match="shortlister: the loss at step 0 is not finite"):
        train_student(material.texts(), material.supervision(), broken, SETTINGS, PHASES["answers"], 0)


def test_list_candidates_never_lists_a_pair_to_leave_out_and_lists_what_is_forced() -> None:
    student, _ = train("answers")
    texts = material.texts()
    evidence = gather_evidence(student.memory, texts.vectors, texts.counts, texts.wording)
    rows = np.arange(3)
    free = list_candidates(student.shortlister, texts, evidence, material.label_vectors(), rows, 12)
    assert 11 not in free.labels[0][free.is_candidate[0]]
    assert free.is_candidate.sum(axis=1).tolist() == [11, 12, 12]
    last = free.labels[1, -1]
    forced = fill_matrix(np.array([1]), np.array([last]), np.ones(1, np.float32), texts.barred.shape)
    short = list_candidates(student.shortlister, texts, evidence, material.label_vectors(), rows, 4, forced)
    assert short.labels[1].tolist() == [last, *free.labels[1, :3]]
    np.testing.assert_allclose(short.log_probs[1], free.log_probs[1, [-1, 0, 1, 2]], atol=1e-5)
    assert set(short.labels[2]) == set(free.labels[2, :4])


def test_list_candidates_lists_by_the_scores_of_the_network() -> None:
    student, _ = train("mechanistic")
    texts, vectors, rows = material.texts(), material.label_vectors(), np.array([4, 0, 7])
    evidence = gather_evidence(student.memory, texts.vectors, texts.counts, texts.wording)
    parts = (torch.from_numpy(part) for part in (texts.vectors[rows], vectors, evidence.rows(rows)))
    with torch.no_grad():
        scores = student.shortlister(*parts).masked_fill(torch.from_numpy(dense_rows(texts.barred, rows) > 0), float("-inf"))
    expected = torch.log_softmax(scores, dim=1).sort(dim=1, descending=True)
    found = list_candidates(student.shortlister, texts, evidence, vectors, rows, 12)
    there = found.is_candidate
    np.testing.assert_array_equal(there, np.isfinite(expected.values.numpy()))
    np.testing.assert_array_equal(found.labels[there], expected.indices.numpy()[there])
    np.testing.assert_allclose(found.log_probs[there], expected.values.numpy()[there], atol=1e-5)


def test_draw_batches_shows_every_document_once_a_pass() -> None:
    batches = draw_batches(10, 4, 5, seed=3)
    assert batches.shape == (5, 4)
    assert sorted(batches.ravel()[:10]) == sorted(batches.ravel()[10:]) == list(range(10))


def test_draw_batches_of_few_documents_are_whole_passes() -> None:
    assert sorted(draw_batches(3, 8, 2, seed=0)[1]) == [0, 1, 2]


def test_sample_labels_keeps_targets_and_keeps_the_sum_right() -> None:
    targets = fill_matrix(np.array([0, 1]), np.array([5, 99]), np.ones(2, np.float32), (2, 100))
    columns, shift = sample_labels(targets, np.random.default_rng(0), above=50, sample_count=14)
    assert columns is not None
    assert columns[:2].tolist() == [5, 99]
    assert len(set(columns.tolist())) == 16
    assert torch.exp(shift).sum().item() == pytest.approx(100, rel=1e-5)


def test_sample_labels_scores_all_where_there_are_few() -> None:
    targets = fill_matrix(np.array([0]), np.array([5]), np.ones(1, np.float32), (1, 100))
    assert sample_labels(targets, np.random.default_rng(0))[0] is None


def test_one_cycle_rises_to_the_peak_and_falls() -> None:
    rates = [one_cycle(step, 50) for step in range(50)]
    assert max(rates) == rates[9] == 1
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 0.01
    assert one_cycle(0, 1) == 1
