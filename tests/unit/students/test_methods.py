import numpy as np
import pytest
from pydantic import ValidationError

from schemas.errors import TrainingError
from schemas.student_settings import METHODS, DecoderStudentsConfig, DistillConfig
from tasks.students.matrices import empty_matrix
from tasks.students.methods import PHASES, SUPERVISED, plan_students
from tasks.students.supervision import gold_supervision
from tests.unit.students import material

GOLD = gold_supervision(
    material.pairs(),
    empty_matrix(material.pairs().shape),
    material.ranked([[material.answer_of(i)] for i in range(25)]).with_columns(relevance=1.0, is_filtered=False),
)


def test_phases_are_a_two_by_two() -> None:
    assert {(PHASES[m].has_p1, PHASES[m].has_p2) for m in METHODS} == {(a, b) for a in (True, False) for b in (True, False)}


def test_plan_students_makes_one_a_method_and_seed() -> None:
    plans = plan_students(material.supervision(), GOLD, DistillConfig(seeds=(0, 4)))
    assert {plan.name for plan in plans} == {f"{m}-seed{s}" for m in (*METHODS, SUPERVISED) for s in (0, 4)}


def test_plan_students_gives_every_method_the_same_documents() -> None:
    plans = plan_students(material.supervision(), GOLD, DistillConfig(seeds=(0,)))
    train, dev = plans[0].split(0.1)
    assert len(train) == 27
    for plan in plans[1:]:
        ours, held_out = plan.split(0.1)
        np.testing.assert_array_equal(held_out, dev)
        expected = train[train < 25] if plan.system == SUPERVISED else train
        np.testing.assert_array_equal(ours, expected)


def test_split_never_trains_on_development_documents() -> None:
    plan = plan_students(material.supervision(), GOLD, DistillConfig(seeds=(3,)))[0]
    train, dev = plan.split(0.2)
    assert len(dev) == 6
    assert not set(train) & set(dev)


def test_plan_students_refuses_a_reference_without_known_targets() -> None:
    nothing = gold_supervision(
        material.pairs(),
        empty_matrix(material.pairs().shape),
        material.ranked([[1]]).with_columns(relevance=0.0, is_filtered=False),
    )
    with pytest.raises(TrainingError, match="0 of 30 training documents"):
        plan_students(material.supervision(), nothing, DistillConfig())
    assert plan_students(material.supervision(), nothing, DistillConfig(has_supervised_reference=False))


def test_of_takes_in_the_overrides_of_one_method() -> None:
    settings = DistillConfig(learning_rate=1e-3, overrides={"mechanistic": {"lambda_p1": 2.0}})
    assert settings.of("mechanistic") == DistillConfig(learning_rate=1e-3, lambda_p1=2.0)
    assert settings.of("answers") == settings.of(SUPERVISED) == DistillConfig(learning_rate=1e-3)


def test_overrides_refuse_budgets_unknown_methods_and_values_out_of_bounds() -> None:
    with pytest.raises(ValidationError, match="may not differ between methods"):
        DistillConfig.model_validate({"overrides": {"answers": {"refiner_steps": 900}}})
    with pytest.raises(ValidationError, match=r"overrides\.supervised"):
        DistillConfig.model_validate({"overrides": {SUPERVISED: {"learning_rate": 1e-3}}})
    with pytest.raises(ValidationError, match="greater than 0"):
        DistillConfig.model_validate({"overrides": {"answers": {"learning_rate": -1.0}}})
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        DecoderStudentsConfig.model_validate({"overrides": {"cot": {"lambda_kd": -1.0}}})
