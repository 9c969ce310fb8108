"""Each method has the terms that its name says."""

import pytest

from schemas.student_settings import DECODER_METHODS, DecoderMethod, DecoderStudentsConfig
from tasks.decoder_students.methods import P1_TERMS, P2_TERMS, student_name, system_of, teaching_of

ALL = (*P1_TERMS, *P2_TERMS)


@pytest.mark.parametrize(
    ("method", "terms"),
    [
        ("answers", ()),
        ("cot", ()),
        ("cot-kd", ("distribution_loss",)),
        ("mechanistic", ALL),
        ("mechanistic-kd", (*ALL, "distribution_loss")),
        ("mechanistic-no-p1", P2_TERMS),
        ("mechanistic-no-p2", P1_TERMS),
        ("mechanistic-random-heads", ALL),
    ],
)
def test_teaching_of_gives_the_terms_of_a_method(method: DecoderMethod, terms: tuple[str, ...]) -> None:
    assert teaching_of(method).terms == terms


@pytest.mark.parametrize("term", ALL)
def test_teaching_of_takes_a_single_term_away_by_name(term: str) -> None:
    method = next(one for one in DECODER_METHODS if one == f"mechanistic-no-{term.removesuffix('_loss').replace('_', '-')}")
    assert teaching_of(method).terms == tuple(one for one in ALL if one != term)


def test_only_answers_leaves_the_trace_out_and_only_random_heads_draws() -> None:
    assert [one for one in DECODER_METHODS if not teaching_of(one).has_trace] == ["answers"]
    assert [one for one in DECODER_METHODS if teaching_of(one).is_random] == ["mechanistic-random-heads"]


def test_weights_are_those_of_the_settings_and_none_of_weight_zero() -> None:
    settings = DecoderStudentsConfig(lambda_p1=0.0, lambda_p2=0.2, lambda_kd=0.7)
    assert teaching_of("mechanistic-kd").weights(settings) == {**dict.fromkeys(P2_TERMS, 0.2), "distribution_loss": 0.7}


def test_students_are_called_by_method_and_seed() -> None:
    assert system_of("cot-kd") == "decoder-cot-kd"
    assert student_name("cot-kd", 2) == "decoder-cot-kd-seed2"
