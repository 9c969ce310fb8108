import numpy as np
import pytest

from tasks.intervals.contrasts import contrast_rows, pair_seeds, two_sided_p
from tasks.intervals.resampling import DocumentValues, Resamples, Values, resample_documents


def resamples(numerators: dict[str, Values], seeds: dict[str, tuple[int, ...]] | None = None, count: int = 400) -> Resamples:
    """Resamples of systems given as [seed, document]."""
    parts = {name: part[:, :, None] for name, part in numerators.items()}
    seeds = seeds or {name: tuple(range(len(part))) for name, part in parts.items()}
    document_count = next(iter(parts.values())).shape[1]
    values = DocumentValues((("P", 1),), seeds, parts, np.ones((document_count, 1)))
    return resample_documents(values, count, np.random.default_rng(0))


def contrast(found: Resamples, system: str, baseline: str) -> dict[str, float]:
    return contrast_rows(found, [(system, baseline)], "all", np.random.default_rng(1)).row(0, named=True)


def test_contrast_rows_of_equal_systems_are_0_with_p_1() -> None:
    part = np.random.default_rng(2).random((3, 40))
    row = contrast(resamples({"mechanistic": part, "answers": part.copy()}), "mechanistic", "answers")
    assert (row["difference"], row["p_value"]) == (0, 1)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0, 0), abs=1e-12)


def test_contrast_rows_pair_by_document() -> None:
    hard = np.random.default_rng(3).random((1, 60))
    row = contrast(resamples({"a": hard + 0.01, "b": hard}), "a", "b")
    assert row["difference"] == pytest.approx(0.01)
    assert row["ci_high"] - row["ci_low"] < 1e-9
    assert row["p_value"] == pytest.approx(2 / 401)


def test_contrast_rows_pair_by_seed() -> None:
    by_seed = np.repeat(np.array([[0.1], [0.5], [0.9]]), 20, axis=1)
    row = contrast(resamples({"a": by_seed + 0.05, "b": by_seed}), "a", "b")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.05, 0.05))
    assert row["seed_count"] == 3


def test_contrast_rows_seeds_that_disagree_widen_the_interval() -> None:
    gains = np.repeat(np.array([[0.3], [-0.1]]), 20, axis=1)
    row = contrast(resamples({"a": 0.5 + gains, "b": np.full((2, 20), 0.5)}), "a", "b")
    assert row["difference"] == pytest.approx(0.1)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((-0.1, 0.3))
    assert row["p_value"] > 0.3


def test_contrast_rows_use_the_seeds_both_have() -> None:
    numerators = {"a": np.array([[0.9] * 10, [0.2] * 10]), "b": np.array([[0.1] * 10])}
    row = contrast(resamples(numerators, {"a": (0, 4), "b": (4,)}), "a", "b")
    assert row["difference"] == pytest.approx(0.1)
    assert row["seed_count"] == 1


def test_contrast_rows_without_a_common_seed_are_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    found = resamples({"a": np.ones((1, 5)), "b": np.ones((1, 5))}, {"a": (0,), "b": (1,)})
    assert contrast_rows(found, [("a", "b")], "all", np.random.default_rng(0)).is_empty()
    assert "none in common" in caplog.text


def test_pair_seeds_puts_a_seedless_system_beside_every_seed() -> None:
    assert pair_seeds("lexical", (0,), "answers", (0, 1, 2)) == [(0, 0), (0, 1), (0, 2)]
    assert pair_seeds("answers", (3, 5), "teacher", (0,)) == [(0, 0), (1, 0)]
    assert pair_seeds("teacher", (0,), "lexical", (0,)) == [(0, 0)]


def test_two_sided_p_by_hand() -> None:
    differences = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    assert two_sided_p(differences).tolist() == [2 / 4, 1.0, 1.0]


def test_two_sided_p_is_near_uniform_when_nothing_differs() -> None:
    draws = np.random.default_rng(4)
    low = [contrast(resamples({"a": draws.random((1, 60)), "b": draws.random((1, 60))}, count=200), "a", "b") for _ in range(200)]
    assert 0.01 <= np.mean([row["p_value"] < 0.05 for row in low]) <= 0.11
