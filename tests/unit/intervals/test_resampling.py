import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.intervals.resampling import (
    DocumentValues,
    Values,
    draw_counts,
    metric_rows,
    percentile_interval,
    pool_documents,
    resample_documents,
    resample_seeds,
)


def one_system(numerators: Values, denominators: Values | None = None) -> DocumentValues:
    """Values of system `s`; numerators are [seed, document, column]."""
    seed_count, document_count, width = numerators.shape
    columns = tuple(("P", k) for k in range(1, width + 1))
    ones = np.ones((document_count, width)) if denominators is None else denominators
    return DocumentValues(columns, {"s": tuple(range(seed_count))}, {"s": numerators}, ones)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_draw_counts_draws_as_many_as_there_are() -> None:
    counts = draw_counts(generator(), 7, 50)
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.std() > 0.5


def test_resample_documents_observes_the_mean() -> None:
    found = resample_documents(one_system(np.array([[[1.0], [0.0], [0.5]]])), 10, generator())
    assert found.observed["s"] == pytest.approx(np.array([[0.5]]))
    assert found.resampled["s"].shape == (10, 1, 1)
    assert found.document_count == 3


def test_resample_documents_has_the_spread_of_the_mean() -> None:
    values = np.random.default_rng(1).random((1, 400, 1))
    found = resample_documents(one_system(values), 2000, generator())
    assert found.resampled["s"].std() == pytest.approx(values.std() / np.sqrt(400), rel=0.1)


def test_resample_documents_divides_after_summing() -> None:
    numerators = np.array([[[1.0], [0.0]]])
    found = resample_documents(one_system(numerators, np.array([[1.0], [3.0]])), 500, generator())
    assert found.observed["s"].item() == 0.25
    assert {round(v, 6) for v in found.resampled["s"].ravel()} == {0.0, 0.25, 1.0}


def test_resample_documents_draws_the_same_documents_for_all_systems() -> None:
    part = np.random.default_rng(2).random((1, 20, 2))
    values = DocumentValues((("P", 1), ("P", 2)), {"a": (0,), "b": (0,)}, {"a": part, "b": part.copy()}, np.ones((20, 2)))
    found = resample_documents(values, 100, generator())
    assert np.array_equal(found.resampled["a"], found.resampled["b"])


def test_resample_documents_in_blocks_has_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.intervals.resampling.BLOCK_CELLS", 30)
    found = resample_documents(one_system(np.random.default_rng(3).random((2, 9, 1))), 10, generator())
    assert found.resampled["s"].shape == (10, 2, 1)
    assert len(np.unique(found.resampled["s"][:, 0, 0])) == 10


def test_pool_documents_puts_each_document_in_one_group_of_equal_size() -> None:
    values = one_system(np.arange(14.0).reshape(2, 7, 1))
    pooled = pool_documents(values, 3, generator())
    assert sorted(pooled.denominators[:, 0]) == [2, 2, 3]
    assert pooled.numerators["s"].sum(axis=1) == pytest.approx(values.numerators["s"].sum(axis=1))
    assert pooled.numerators["s"].shape == (2, 3, 1)


def test_resample_documents_in_groups_keeps_the_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.intervals.resampling.MOST_UNITS", 2000)
    values = np.random.default_rng(6).random((1, 20_000, 1))
    found = resample_documents(one_system(values), 1000, generator())
    assert found.document_count == 20_000
    assert found.resampled["s"].std() == pytest.approx(values.std() / np.sqrt(20_000), rel=0.1)
    assert found.observed["s"].item() == pytest.approx(values.mean())


def test_resample_seeds_varies_between_seeds_though_documents_do_not() -> None:
    constant = np.broadcast_to(np.array([0.0, 1.0])[None, :, None], (400, 2, 1))
    means = resample_seeds(constant, generator())[:, 0]
    assert set(means) == {0.0, 0.5, 1.0}
    assert means.mean() == pytest.approx(0.5, abs=0.1)


def test_resample_seeds_of_one_seed_changes_nothing() -> None:
    resampled = np.random.default_rng(4).random((50, 1, 3))
    assert np.array_equal(resample_seeds(resampled, generator()), resampled[:, 0])


def test_percentile_interval_is_widened_to_the_observed_value() -> None:
    resampled = np.linspace(0.4, 0.6, 101)[:, None]
    low, high = percentile_interval(resampled, np.array([0.9]))
    assert (low.item(), high.item()) == pytest.approx((0.405, 0.9))


def test_metric_rows_of_a_single_document_are_degenerate() -> None:
    row = metric_rows(resample_documents(one_system(np.array([[[0.4]]])), 20, generator()), "tail", generator()).row(
        0, named=True
    )
    assert (row["ci_low"], row["value"], row["ci_high"]) == pytest.approx((0.4, 0.4, 0.4))
    assert (row["document_count"], row["seed_count"], row["seed_sd"], row["segment"]) == (1, 1, None, "tail")


def test_metric_rows_average_seeds_and_give_their_spread() -> None:
    numerators = np.stack([np.full((5, 1), v) for v in (0.1, 0.3)])
    row = metric_rows(resample_documents(one_system(numerators), 200, generator()), "all", generator()).row(0, named=True)
    assert row["value"] == pytest.approx(0.2)
    assert row["seed_sd"] == pytest.approx(0.2 / np.sqrt(2))
    assert (row["ci_low"], row["ci_high"], row["seed_count"]) == pytest.approx((0.1, 0.3, 2))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1), min_size=6, max_size=6), min_size=1, max_size=3))
def test_metric_rows_intervals_hold_their_value(by_seed: list[list[float]]) -> None:
    numerators = np.array(by_seed)[:, :, None]
    row = metric_rows(resample_documents(one_system(numerators), 20, generator()), "all", generator()).row(0, named=True)
    assert 0 <= row["ci_low"] <= row["value"] <= row["ci_high"] <= 1


def test_metric_rows_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    draws = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        found = resample_documents(one_system(draws.integers(0, 2, (1, 80, 1)).astype(float)), 200, draws)
        row = metric_rows(found, "all", draws).row(0, named=True)
        held += row["ci_low"] <= 0.5 <= row["ci_high"]
    assert 178 <= held <= 199


def test_metric_rows_keep_shares_within_0_and_1_and_leave_distances_as_they_are() -> None:
    part = np.full((1, 5, 2), -0.5)
    values = DocumentValues((("P", 1), ("las", 0)), {"s": (0,)}, {"s": part}, np.ones((5, 2)))
    rows = metric_rows(resample_documents(values, 20, generator()), "all", generator())
    assert rows["value"].to_list() == [0.0, -0.5]
    assert rows["ci_high"].to_list() == [0.0, -0.5]
