import numpy as np
import pytest

from tasks.phases import intervals
from tasks.phases.intervals import mean_intervals


def test_mean_intervals_of_equal_values_have_no_width() -> None:
    (mean,) = mean_intervals([np.full(20, 0.25)], 100, 0)
    assert (mean.value, mean.low, mean.high, mean.document_count) == (0.25, 0.25, 0.25, 20)
    assert mean.p_value == pytest.approx(2 / 101)


def test_mean_intervals_are_as_wide_as_the_normal_one_for_many_documents() -> None:
    values = np.random.default_rng(1).normal(0.1, 1.0, 900)
    (mean,) = mean_intervals([values], 4000, 0)
    half = 1.96 * values.std() / 30
    assert mean.low == pytest.approx(values.mean() - half, abs=0.006)
    assert mean.high == pytest.approx(values.mean() + half, abs=0.006)


def test_mean_intervals_draw_the_same_documents_for_every_column() -> None:
    values = np.random.default_rng(2).random(50)
    one, other = mean_intervals([values, values + 1.0], 200, 0)
    assert other.low - one.low == pytest.approx(1.0)
    assert other.high - one.high == pytest.approx(1.0)


def test_mean_intervals_of_a_difference_around_0_have_a_large_p() -> None:
    clear, unclear = mean_intervals([np.tile([0.9, 1.1], 50), np.tile([-1.0, 1.0], 50)], 999, 0)
    assert clear.p_value == pytest.approx(0.002)
    assert unclear.p_value > 0.5
    assert unclear.low < 0 < unclear.high


def test_mean_intervals_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(3).random(40)
    (whole,) = mean_intervals([values], 500, 0)
    monkeypatch.setattr(intervals, "BLOCK_CELLS", 90)
    (parts,) = mean_intervals([values], 500, 0)
    assert (parts.value, parts.low, parts.high) == pytest.approx((whole.value, whole.low, whole.high))


def test_mean_intervals_of_nothing_are_none() -> None:
    assert mean_intervals([], 100, 0) == []
