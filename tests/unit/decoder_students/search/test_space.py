import pytest

from schemas.student_settings import DECODER_METHODS, DECODER_TUNABLE, DecoderMethod, DecoderStudentsConfig
from tasks.decoder_students.search.space import decoder_space, used_settings


def test_decoder_space_may_differ_between_methods_and_holds_the_default() -> None:
    space = decoder_space(DecoderStudentsConfig())
    assert {each.name for each in space} <= set(DECODER_TUNABLE)
    assert all(each.low < getattr(DecoderStudentsConfig(), each.name) < each.high for each in space)


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ("answers", set()),
        ("cot", set()),
        ("cot-kd", {"lambda_kd"}),
        ("mechanistic", {"lambda_p1", "lambda_p2"}),
        ("mechanistic-kd", {"lambda_p1", "lambda_p2", "lambda_kd"}),
        ("mechanistic-no-p1", {"lambda_p2"}),
        ("mechanistic-no-p2", {"lambda_p1"}),
        ("mechanistic-no-p1-write", {"lambda_p1", "lambda_p2"}),
    ],
)
def test_used_settings_have_the_weights_of_the_terms_a_method_has(method: DecoderMethod, weights: set[str]) -> None:
    assert {name for name in used_settings(method) if name.startswith("lambda")} == weights


def test_used_settings_know_every_method() -> None:
    assert all("learning_rate" in used_settings(method) for method in DECODER_METHODS)
