import numpy as np

from schemas.fields import HEAD_QUANTITIES
from tasks.heads.summaries import head_profiles, head_scores
from tasks.heads.verdicts import Verdict, dynamics_verdicts, order_verdicts
from tests.unit.heads.head_tables import DOCUMENTS, HEADS, LAYERS, head_table, noisy, rising


def ordered(coarse: np.ndarray, refine: np.ndarray) -> dict[str, Verdict]:
    table = head_table(coarse, refine)
    found = order_verdicts(head_profiles(table, 200, 0), head_scores(table, 200, 0))
    return {one.claim: one for one in found}


def moved(mean: float, count: int = 30) -> dict[str, Verdict]:
    values = mean + np.random.default_rng(0).normal(0, 1, count)
    found = dynamics_verdicts(dict.fromkeys(HEAD_QUANTITIES, values), 8, 200, seed=0)
    return {one.claim: one for one in found}


def test_order_holds_where_coarse_scores_fall_and_refine_scores_rise_with_the_layer() -> None:
    found = ordered(noisy(rising(-1), 0.5), noisy(rising(), 0.5))
    assert {one.standing for one in found.values()} == {"holds"}
    assert found["early_heads_shortlist"].sentence_text.startswith("Holds: shortlisting heads (CoarseScore) stand in early")
    assert "mean layer of the top 2 is 4.0, of all 2.0" in found["late_heads_refine"].sentence_text


def test_order_is_undecided_where_the_top_heads_stand_on_the_other_side() -> None:
    scores = rising(-1)
    scores[-1, :2] = 100.0  # two late heads above all others, whose scores fall with the layer
    found = ordered(noisy(scores, 0.5), noisy(rising(), 0.5))["early_heads_shortlist"]
    assert found.standing == "undecided"
    assert found.ci_high is not None
    assert found.ci_high < 0
    assert "mean layer of the top 2 is 4.0, of all 2.0" in found.sentence_text


def test_order_fails_the_other_way_round() -> None:
    found = ordered(noisy(rising(), 0.5), noisy(rising(-1), 0.5))
    assert {one.standing for one in found.values()} == {"fails"}


def test_order_is_undecided_where_scores_are_noise_and_not_measured_without_scores() -> None:
    found = ordered(noisy(np.zeros((LAYERS, HEADS)), 5.0), np.full((DOCUMENTS, LAYERS, HEADS), np.nan))
    assert found["early_heads_shortlist"].standing == "undecided"
    assert found["late_heads_refine"].standing == "not_measured"
    assert found["late_heads_refine"].difference is None


def test_dynamics_stand_by_the_sign_of_each_claim() -> None:
    up, down, flat = moved(2.0), moved(-2.0), moved(0.0)
    assert [one.standing for one in up.values()] == ["holds", "fails", "holds"]
    assert [one.standing for one in down.values()] == ["fails", "holds", "fails"]
    assert {one.standing for one in flat.values()} == {"undecided"}
    assert "8 heads, 30 documents" in up["ov_helpfulness_grows"].sentence_text


def test_dynamics_of_one_document_are_not_measured() -> None:
    assert {one.standing for one in moved(1.0, count=1).values()} == {"not_measured"}
