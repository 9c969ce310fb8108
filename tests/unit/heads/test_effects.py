"""Effects and their intervals against a hand computation."""

import numpy as np
import polars as pl
import pytest

from schemas.config import HeadsConfig
from schemas.tables import CORE_PATCH_EFFECTS
from tasks.heads.effects import effect_rows, patch_tables
from tasks.heads.head_sets import HeadSet
from tasks.heads.patching import patch_values
from tasks.heads.resampling import draw_weights

NAMES = ["a", "b", "c", "d"]
CLEAN, CORRUPTED = [2.0, 3.0, 4.0, 5.0], [0.0, 1.0, 0.0, 1.0]
PATCHED = [1.0, 2.0, 1.0, 3.0]
SETTINGS = HeadsConfig(bootstrap_count=200, seed=3)


def values(
    patched: list[float], clean: list[float], corrupted: list[float], direction: str = "denoise", names: list[str] = NAMES
) -> pl.DataFrame:
    return patch_values(names, "refine", direction, HeadSet("top", 0, ((0, 1),)), "margin", patched, clean, corrupted)


def test_effect_rows_are_means_and_ratios_of_means_over_the_same_resamples() -> None:
    (row,) = effect_rows(values(PATCHED, CLEAN, CORRUPTED), SETTINGS).iter_rows(named=True)
    weights = draw_weights(4, 200, 3)
    means = [weights @ np.array(column) for column in (PATCHED, CLEAN, CORRUPTED)]
    shares = (means[0] - means[2]) / (means[1] - means[2])
    assert (row["value"], row["clean_value"], row["corrupted_value"]) == (1.75, 3.5, 0.5)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(np.percentile(means[0], (2.5, 97.5))))
    assert row["effect_frac"] == pytest.approx(1.25 / 3)
    assert (row["effect_ci_low"], row["effect_ci_high"]) == pytest.approx(tuple(np.percentile(shares, (2.5, 97.5))))
    assert (row["document_count"], row["corruption"], row["patched_part"]) == (4, "swap", "pattern")


def test_effect_rows_of_noising_count_from_the_clean_run() -> None:
    (row,) = effect_rows(values(PATCHED, CLEAN, CORRUPTED, "noise"), SETTINGS).iter_rows(named=True)
    assert row["effect_frac"] == pytest.approx(1.75 / 3)


def test_effect_rows_have_no_share_where_the_runs_do_not_differ() -> None:
    (row,) = effect_rows(values(PATCHED, [1.0, 0.0, 1.0, 0.5], [0.0, 1.0, 0.5, 1.0]), SETTINGS).iter_rows(named=True)
    assert [row[name] for name in ("effect_frac", "effect_ci_low", "effect_ci_high")] == [None, None, None]
    assert row["value"] == 1.75


def test_effect_rows_are_means_over_the_documents_that_have_a_value() -> None:
    both = pl.concat([values(PATCHED, CLEAN, CORRUPTED), values(PATCHED[:2], CLEAN[:2], CORRUPTED[:2], "noise", NAMES[:2])])
    rows = effect_rows(both, SETTINGS)
    assert rows.select("direction", "value", "clean_value", "document_count").rows() == [
        ("denoise", 1.75, 3.5, 4),
        ("noise", 1.5, 2.5, 2),
    ]


def test_effect_rows_fit_their_table() -> None:
    rows = effect_rows(values(PATCHED, CLEAN, CORRUPTED), SETTINGS).with_columns(dataset=pl.lit("d"), model=pl.lit("m"))
    assert CORE_PATCH_EFFECTS.conform(rows).height == 1


def test_patch_tables_put_every_value_at_its_document_and_set() -> None:
    second = patch_values(
        ["d", "a"], "refine", "noise", HeadSet("low", 0, ((0, 2),)), "margin", [7.0, 8.0], [1.0, 1.0], [0.0, 0.0]
    )
    (table,) = patch_tables(pl.concat([values(PATCHED, CLEAN, CORRUPTED), second]))
    assert table.columns.rows() == [("denoise", "top", 1, 0), ("noise", "low", 1, 0)]
    np.testing.assert_array_equal(table.value, np.array([PATCHED, [8.0, np.nan, np.nan, 7.0]]).T)
