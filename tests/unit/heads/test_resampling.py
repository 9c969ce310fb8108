import numpy as np

from tasks.heads.resampling import draw_weights, mean_intervals


def test_draw_weights_are_shares_of_documents_drawn_with_replacement() -> None:
    weights = draw_weights(7, 50, seed=1)
    assert weights.shape == (50, 7)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert np.array_equal(weights, draw_weights(7, 50, seed=1))
    assert not np.array_equal(weights, draw_weights(7, 50, seed=2))


def test_mean_intervals_hold_the_true_mean_about_95_times_in_100() -> None:
    draw = np.random.default_rng(0)
    low, high = mean_intervals(draw.normal(1.0, 2.0, (60, 1000)), 400, seed=0)  # 1,000 columns: more than one block
    assert 0.9 < np.mean((low <= 1.0) & (high >= 1.0)) < 0.98


def test_mean_intervals_of_a_constant_have_no_width() -> None:
    low, high = mean_intervals(np.full((5, 2), 3.0), 100, seed=0)
    np.testing.assert_allclose(low, 3.0)
    np.testing.assert_allclose(high, 3.0)
