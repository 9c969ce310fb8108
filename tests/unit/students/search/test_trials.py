from dataclasses import replace

import numpy as np
import pytest

from schemas.errors import TrainingError
from schemas.student_settings import DistillConfig
from tasks.students.methods import Plan, plan_students
from tasks.students.search.trials import Bench, run_trial, split_documents
from tasks.trials.drawing import Trial
from tests.unit.students import material

SETTINGS = DistillConfig(
    methods=("answers", "mechanistic"), has_supervised_reference=False, shortlist_size=5, shortlister_steps=8, refiner_steps=4,
    batch_size=8, overrides={"answers": {"learning_rate": 1.0}},
)  # fmt: skip
DEFAULT = Trial(0, (("learning_rate", 2e-3), ("lambda_p1", 0.3)))
TRAIN, DEV = np.arange(24), np.arange(24, 30)


@pytest.fixture
def plans() -> list[Plan]:
    return plan_students(material.supervision(), material.supervision(), SETTINGS)


@pytest.fixture
def bench() -> Bench:
    ids = np.arange(material.LABEL_COUNT, dtype=np.int32)
    return Bench(material.texts(), ids, material.label_vectors(), material.supervision().answers, TRAIN, DEV)


def test_run_trial_is_judged_by_the_teachers_labels_alone(bench: Bench, plans: list[Plan]) -> None:
    found = run_trial(bench, plans[0], DEFAULT, SETTINGS, (100,))
    assert found.metrics.keys() == {"precision_at_1", "recall_at_10"}
    assert found.metrics["precision_at_1"] > 0.5
    assert (found.seed_count, found.document_count) == (1, 6)
    nothing = run_trial(replace(bench, answers=bench.answers[::-1]), plans[0], DEFAULT, SETTINGS, (100,))
    assert nothing.metrics["precision_at_1"] < found.metrics["precision_at_1"]


def test_run_trial_of_several_seeds_is_their_mean(bench: Bench, plans: list[Plan]) -> None:
    one, other, both = (run_trial(bench, plans[1], DEFAULT, SETTINGS, seeds) for seeds in ((7,), (8,), (7, 8)))
    for name, value in both.metrics.items():
        assert value == pytest.approx((one.metrics[name] + other.metrics[name]) / 2)


def test_run_trial_takes_its_settings_and_not_the_overrides(bench: Bench, plans: list[Plan]) -> None:
    plain = SETTINGS.model_copy(update={"overrides": {}})
    assert run_trial(bench, plans[0], DEFAULT, SETTINGS, (7,)) == run_trial(bench, plans[0], DEFAULT, plain, (7,))
    wild = Trial(1, (("learning_rate", 0.2), ("lambda_p1", 0.3)))
    assert run_trial(bench, plans[0], wild, SETTINGS, (7,)) != run_trial(bench, plans[0], DEFAULT, SETTINGS, (7,))


def test_run_trial_of_answers_hangs_on_no_phase_weight(bench: Bench, plans: list[Plan]) -> None:
    heavy = Trial(1, (("learning_rate", 2e-3), ("lambda_p1", 3.0)))
    assert run_trial(bench, plans[0], heavy, SETTINGS, (7,)) == run_trial(bench, plans[0], DEFAULT, SETTINGS, (7,))


def test_split_documents_is_by_the_given_seed_and_leaves_out_what_has_no_answer(plans: list[Plan]) -> None:
    usable = np.ones(material.DOCUMENT_COUNT, dtype=np.bool_)
    train, dev = split_documents(plans[0], 0.2, 5)
    assert [list(part) for part in split_documents(plans[-1], 0.2, 5)] == [list(train), list(dev)]
    assert len(dev) == 6
    assert not set(train) & set(dev)
    usable[dev[0]] = False
    assert list(split_documents(replace(plans[0], is_usable=usable), 0.2, 5)[1]) == list(dev[1:])


def test_split_documents_without_development_documents_says_what_to_do(plans: list[Plan]) -> None:
    with pytest.raises(TrainingError, match=r"raise distill\.dev_frac"):
        split_documents(plans[0], 0.0, 5)
