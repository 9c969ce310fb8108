import numpy as np
import polars as pl

from tasks.heads.dynamics import Dynamics, dynamics_rows, follow_heads, late_minus_early, top_heads
from tasks.open_models.scores import HeadRows, measure_rows
from tasks.open_models.watching import watch_heads
from tasks.sequences.batches import pad
from tests.support.planted_decoder import REFINE_HEAD, planted_decoder, planted_sequence
from tests.unit.heads.drawn_sequences import drawn_sequence

SCORES = pl.DataFrame({"layer": [0, 0, 1, 1], "head": [0, 1, 0, 1], "refine_score": [0.5, None, 2.0, 0.5]})


def rows(kept: list[list[float]]) -> HeadRows:
    """Two heads of one layer, the second twice the first; dropped attention is half, helpfulness ten times the kept one."""
    values = np.array(kept)[:, None, None] * np.array([1.0, 2.0])[:, None]
    return HeadRows(values, values, values, values / 2, values * 10)


def test_top_heads_are_the_best_scored_and_none_without_a_score() -> None:
    assert top_heads(SCORES, "refine_score", 2) == [(1, 0), (0, 0)]
    assert top_heads(SCORES, "refine_score", 9) == [(1, 0), (0, 0), (1, 1)]


def test_follow_heads_takes_means_over_heads_at_the_rows_a_document_has() -> None:
    sequences = [drawn_sequence(0, refine_count=2), drawn_sequence(1, refine_count=0), drawn_sequence(2)]
    found = follow_heads(rows([[1, 2, np.nan], [np.nan] * 3, [4, 5, 6]]), sequences, [(0, 0), (0, 1)])
    assert [one.document_id for one in found] == ["d0", "d2"]
    np.testing.assert_allclose(found[0].tracks["shortlist_attention_frac"], [1.5, 3.0])
    np.testing.assert_allclose(found[1].tracks["ov_helpfulness"], [60, 75, 90])


def test_dynamics_rows_are_means_by_bin_at_the_bins_centre() -> None:
    tracks = {"ov_helpfulness": np.array([1.0, 3.0, np.nan, 8.0])}
    found = dynamics_rows([Dynamics("d", (0.5, 0.55, 0.8, 1.0), tracks)], 4)
    assert found == [("d", "ov_helpfulness", 0.625, 2.0, 4), ("d", "ov_helpfulness", 0.875, 8.0, 4)]


def test_late_minus_early_leaves_the_middle_and_single_rows_out() -> None:
    def one(*values: float) -> Dynamics:
        names = ("shortlist_attention_frac", "near_miss_attention_frac", "ov_helpfulness")
        return Dynamics("d", tuple(np.linspace(0.5, 1, len(values))), {name: np.array(values) for name in names})

    found = late_minus_early([one(1, 5, 4), one(2), one(1, np.nan, 2, 4)])
    assert found["ov_helpfulness"].tolist() == [3.0, 3.0]


def test_the_planted_refinement_head_attends_to_kept_candidates() -> None:
    sequences = [planted_sequence(seed) for seed in range(4)]
    measured = measure_rows(watch_heads(planted_decoder()), sequences, pad([one.token_ids.tolist() for one in sequences], 0))
    for one in follow_heads(measured, sequences, [(1, REFINE_HEAD)]):
        assert (one.tracks["shortlist_attention_frac"] > 0.15).all()
        assert (one.tracks["near_miss_attention_frac"] < 0.01).all()
        assert (one.tracks["ov_helpfulness"] > 0).all()
