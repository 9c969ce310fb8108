"""Answers of a runaway teacher: time grows with their length, not with its square."""

from collections.abc import Callable

import pytest

from tests.unit.parsing.shapes import SHAPES, assert_linear

SIZE, FLOOR_S = 1000, 0.005
"""Characters, and the least CPU seconds that count: 4,000 characters take some 15 ms. Longer answers: integration tests."""


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_reading_takes_time_in_proportion(shape: Callable[[int], str]) -> None:
    assert_linear(shape, SIZE, FLOOR_S)
