import pytest

from schemas.student_settings import ENCODER_TUNABLE, METHODS, DistillConfig
from tasks.students.search.space import encoder_space, used_settings


def test_encoder_space_is_what_may_differ_and_holds_the_default() -> None:
    space = encoder_space(DistillConfig())
    assert {each.name for each in space} == set(ENCODER_TUNABLE)
    assert all(each.low < getattr(DistillConfig(), each.name) < each.high for each in space)


def test_encoder_space_follows_the_learning_rate_that_is_set() -> None:
    rate = next(each for each in encoder_space(DistillConfig(learning_rate=4e-4)) if each.name == "learning_rate")
    assert (rate.low, rate.high) == pytest.approx((1e-4, 1.6e-3))


def test_used_settings_have_the_weights_of_the_phases_a_method_has() -> None:
    weights = {method: {name for name in used_settings(method) if name.startswith("lambda")} for method in METHODS}
    assert weights == {
        "answers": set(),
        "mechanistic-no-p2": {"lambda_p1"},
        "mechanistic-no-p1": {"lambda_p2"},
        "mechanistic": {"lambda_p1", "lambda_p2"},
    }
