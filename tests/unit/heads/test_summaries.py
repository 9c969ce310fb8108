from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from schemas.errors import EmptyTargetError
from schemas.fields import SCORE_NAMES
from tasks.heads.summaries import document_rows, head_profiles, head_scores, read_scores, spearman
from tasks.open_models.scores import HeadScores
from tests.unit.heads.head_tables import DOCUMENTS, HEADS, LAYERS, head_table, noisy, rising, rows_of


def test_document_rows_go_back_into_the_same_table_whatever_their_order() -> None:
    coarse, refine = noisy(rising(), 1.0), noisy(rising(-1), 1.0, seed=1)
    refine[3] = np.nan
    rows = rows_of(coarse, refine)
    assert rows["refine_score"].null_count() == LAYERS * HEADS
    table = read_scores(rows.sample(fraction=1.0, shuffle=True, seed=3))
    np.testing.assert_array_equal(table.values["coarse_score"], coarse)
    assert len(table.known("refine_score")) == DOCUMENTS - 1


def test_head_scores_are_means_over_the_documents_that_have_the_score() -> None:
    coarse, refine = noisy(rising(), 1.0), noisy(rising(-1), 1.0, seed=1)
    refine[:10] = np.nan
    frame = head_scores(head_table(coarse, refine), 200, seed=0).sort("layer", "head")
    np.testing.assert_allclose(frame["coarse_score"].to_numpy(), coarse.mean(axis=0).ravel())
    np.testing.assert_allclose(frame["refine_score"].to_numpy(), refine[10:].mean(axis=0).ravel())
    assert (frame["refine_ci_low"] < frame["refine_score"]).all()
    assert frame["document_count"].unique().to_list() == [DOCUMENTS]


def test_a_score_that_no_document_has_is_null_and_has_no_profile() -> None:
    table = head_table(noisy(rising(), 1.0), np.full((DOCUMENTS, LAYERS, HEADS), np.nan))
    assert head_scores(table, 50, seed=0)["refine_score"].null_count() == LAYERS * HEADS
    assert {one.score_name for one in head_profiles(table, 50, seed=0)} == set(SCORE_NAMES) - {"refine_score"}


def test_layer_means_are_means_over_heads_and_documents() -> None:
    coarse = noisy(rising(), 0.5)
    profiles = head_profiles(head_table(coarse, coarse), 200, seed=0)
    means = [one for one in profiles if (one.score_name, one.summary) == ("coarse_score", "layer_mean")]
    np.testing.assert_allclose([one.value for one in means], coarse.mean(axis=(0, 2)))
    assert all(one.ci_low < one.value < one.ci_high for one in means)


def test_layer_order_is_spearmans_correlation_and_tells_rising_from_falling_and_from_none() -> None:
    none = np.random.default_rng(9).normal(0, 1, (LAYERS, HEADS))
    found = {}
    for name, profile in (("rising", rising()), ("falling", rising(-1)), ("none", none)):
        values = noisy(profile, 0.5)
        profiles = head_profiles(head_table(values, values), 300, seed=0)
        (found[name],) = [one for one in profiles if (one.score_name, one.summary) == ("refine_score", "layer_order")]
        layers = np.repeat(np.arange(LAYERS), HEADS)
        assert found[name].value == pytest.approx(spearmanr(values.mean(axis=0).ravel(), layers).statistic)
    assert found["rising"].ci_low > 0.9
    assert found["falling"].ci_high < -0.9
    assert abs(found["none"].value) < 0.5


def test_split_half_is_high_for_heads_that_differ_and_low_for_noise() -> None:
    reliable, noise = noisy(rising(), 0.5), noisy(np.zeros((LAYERS, HEADS)), 1.0)
    profiles = head_profiles(head_table(reliable, noise), 50, seed=0)
    halves = {one.score_name: one for one in profiles if one.summary == "split_half"}
    assert halves["coarse_score"].ci_low > 0.95
    assert halves["refine_score"].value < 0.5
    assert -1 <= halves["refine_score"].ci_low <= halves["refine_score"].value <= halves["refine_score"].ci_high <= 1


def test_split_half_estimates_the_correlation_with_as_many_other_documents() -> None:
    """Spearman and Brown's correction against the thing it estimates: two full sets of documents."""
    profile = rising()
    one, other = noisy(profile, 8.0, seed=1), noisy(profile, 8.0, seed=2)
    (half,) = [
        p for p in head_profiles(head_table(one, one), 50, 0) if (p.score_name, p.summary) == ("coarse_score", "split_half")
    ]
    wanted = np.corrcoef(one.mean(axis=0).ravel(), other.mean(axis=0).ravel())[0, 1]
    assert half.value == pytest.approx(wanted, abs=0.15)


def test_heads_that_all_score_the_same_have_no_order() -> None:
    same = np.ones((DOCUMENTS, LAYERS, HEADS))
    assert {one.summary for one in head_profiles(head_table(same, same), 50, seed=0)} == {"layer_mean"}
    assert np.isnan(spearman(np.ones((1, 6)), np.arange(6))).all()


def test_one_document_is_refused() -> None:
    with pytest.raises(EmptyTargetError, match=r"scored on 1 document"):
        read_scores(rows_of(noisy(rising(), 1.0), noisy(rising(), 1.0)).filter(document_id="d00"))


def test_no_document_is_refused() -> None:
    with pytest.raises(EmptyTargetError, match=r"scored on 0 document"):
        read_scores(rows_of(noisy(rising(), 1.0), noisy(rising(), 1.0)).clear())


def test_documents_without_anchors_and_refinement_are_refused() -> None:
    nothing = np.full((DOCUMENTS, LAYERS, HEADS), np.nan)
    with pytest.raises(EmptyTargetError, match=r"of 40 scored documents 0 have anchors"):
        head_table(nothing, nothing)


def test_heads_that_write_nothing_are_refused() -> None:
    zero = np.zeros((DOCUMENTS, LAYERS, HEADS))
    scores = HeadScores(**dict.fromkeys(SCORE_NAMES, zero))
    scores = replace(scores, kurtosis=zero + 1)
    with pytest.raises(EmptyTargetError, match="no head writes anything"):
        read_scores(document_rows(scores, [f"d{i}" for i in range(DOCUMENTS)]))
