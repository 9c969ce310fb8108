import logging

import pytest

from tasks.evaluation.contrasts import contrast_pairs


def test_contrast_pairs_has_the_baseline_and_both_halves() -> None:
    systems = ["teacher", "answers", "mechanistic-no-p2", "mechanistic-no-p1", "mechanistic"]
    assert contrast_pairs(systems, "answers") == [
        ("teacher", "answers"),
        ("mechanistic-no-p2", "answers"),
        ("mechanistic-no-p1", "answers"),
        ("mechanistic", "answers"),
        ("mechanistic", "mechanistic-no-p1"),
        ("mechanistic", "mechanistic-no-p2"),
    ]


def test_contrast_pairs_are_named_once() -> None:
    pairs = contrast_pairs(["mechanistic", "mechanistic-no-p1", "mechanistic-no-p2"], "mechanistic-no-p1")
    assert len(pairs) == len(set(pairs)) == 3


def test_contrast_pairs_without_the_baseline_say_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert contrast_pairs(["teacher", "lexical"], "answers") == []
    assert "no predictions of the baseline 'answers'" in caplog.text


def test_contrast_pairs_of_decoder_students_are_their_own() -> None:
    systems = ["answers", "mechanistic", "decoder-answers", "decoder-cot", "decoder-mechanistic"]
    assert contrast_pairs(systems, "answers") == [
        ("mechanistic", "answers"),
        ("decoder-answers", "decoder-cot"),
        ("decoder-mechanistic", "decoder-cot"),
        ("decoder-cot", "decoder-answers"),
        ("decoder-mechanistic", "decoder-answers"),
    ]


def test_contrast_pairs_of_drawn_traces_are_with_drawn_traces_too() -> None:
    pairs = contrast_pairs(["decoder-answers", "decoder-cot", "decoder-cot-sampled", "decoder-mechanistic-sampled"], "answers")
    assert ("decoder-mechanistic-sampled", "decoder-cot-sampled") in pairs
    assert ("decoder-cot-sampled", "decoder-answers") in pairs
    assert ("decoder-cot", "decoder-cot-sampled") not in pairs
    assert len(pairs) == len(set(pairs)) == 7


def test_contrast_pairs_of_decoder_students_alone_miss_no_other_baseline(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert contrast_pairs(["decoder-cot", "decoder-cot-kd"], "answers") == [("decoder-cot-kd", "decoder-cot")]
    assert not caplog.records
