import pytest

from tasks.reports.cells import (
    clip_text,
    decimal_text,
    money_text,
    p_text,
    percent_range_text,
    percent_text,
    points_text,
    seconds_text,
)


@pytest.mark.parametrize(("value", "text"), [(0.1234, "12.3"), (1.0, "100.0"), (0.0, "0.0")])
def test_percent_text_has_one_decimal(value: float, text: str) -> None:
    assert percent_text(value) == text


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_decimal_text_says_when_there_is_no_value(value: float | None) -> None:
    assert decimal_text(value, 1) == "no value"


@pytest.mark.parametrize(
    ("value", "text"), [(0.008, "+0.8"), (-0.003, "−0.3"), (0.0, "0.0"), (-0.0001, "0.0"), (0.105, "+10.5"), (12.5, "+1,250.0")]
)
def test_points_text_is_signed_and_has_no_negative_zero(value: float, text: str) -> None:
    assert points_text(value) == text


def test_percent_range_text_is_empty_without_an_end() -> None:
    assert percent_range_text(0.11, 0.136) == "11.0 to 13.6"
    assert percent_range_text(None, 0.136) == ""
    assert percent_range_text(float("nan"), 0.136) == ""


def test_p_text_never_says_zero() -> None:
    assert p_text(0.0) == "p < 0.001"
    assert p_text(0.012) == "p = 0.012"


def test_money_text_keeps_unknown_apart_from_free() -> None:
    assert money_text(None) == "unknown"
    assert money_text(0.0) == "$0.00"
    assert money_text(0.0123) == "$0.0123"


@pytest.mark.parametrize(("seconds", "text"), [(1.26, "1.3 s"), (119.9, "119.9 s"), (179.8, "3 min 00 s"), (200.0, "3 min 20 s")])
def test_seconds_text_carries_into_minutes(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_clip_text_says_how_much_is_missing() -> None:
    assert clip_text("abc", 3) == "abc"
    assert clip_text("abcde", 3) == "abc … (2 more characters)"
