"""Scores against the definitions, computed another way; planted heads; documents that lack what is measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from schemas.errors import ModelRefusedError
from schemas.fields import SCORE_NAMES
from tasks.open_models.scores import HeadScores, excess_kurtosis, measure_rows, score_documents
from tasks.open_models.watching import watch_heads
from tasks.sequences.batches import Side, pad
from tasks.sequences.tokens import TokenSequence
from tests.support.planted_decoder import COARSE_HEAD, HEADS, REFINE_HEAD, planted_decoder, planted_sequence
from tests.support.tiny_decoders import FAMILIES, tiny_decoder
from tests.unit.heads.drawn_sequences import drawn_sequence
from tests.unit.heads.eager_scores import eager_scores


def scored(model: PreTrainedModel, sequences: list[TokenSequence], side: Side = "right") -> HeadScores:
    batch = pad([one.token_ids.tolist() for one in sequences], 0, side)
    return score_documents(measure_rows(watch_heads(model), sequences, batch))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_equal_the_definitions_computed_with_eager_attention(family: str, side: Side) -> None:
    sequences = [drawn_sequence(0, 4), drawn_sequence(1, 7), drawn_sequence(2, 3, anchor_count=5, refine_count=1)]
    model = tiny_decoder(family)
    found = scored(model, sequences, side)
    expected = eager_scores(model, sequences, pad([one.token_ids.tolist() for one in sequences], 0, side))
    for name in SCORE_NAMES:
        np.testing.assert_allclose(getattr(found, name), expected[name], atol=1e-5, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_scores_rank_planted_heads_first(kv_heads: int, side: Side) -> None:
    found = scored(planted_decoder(kv_heads, layers=4), [planted_sequence(seed) for seed in range(12)], side)
    coarse, refine = (score.mean(axis=0).ravel() for score in (found.coarse_score, found.refine_score))
    assert coarse.argmax() == COARSE_HEAD
    assert refine.argmax() == 3 * HEADS + REFINE_HEAD
    assert np.sort(coarse)[-2] < 0.1 * coarse.max()
    assert np.sort(refine)[-2] < 0.1 * refine.max()


def test_a_document_scores_the_same_in_any_batch() -> None:
    sequences, model = [drawn_sequence(seed, 3 + seed) for seed in range(3)], tiny_decoder("llama-grouped")
    together, alone = scored(model, sequences), scored(model, sequences[1:2])
    np.testing.assert_allclose(together.refine_score[1], alone.refine_score[0], atol=1e-6)
    np.testing.assert_allclose(together.coarse_score[1], alone.coarse_score[0], atol=1e-5)


def test_what_a_document_lacks_is_nan() -> None:
    whole = drawn_sequence(0)
    without_anchors = replace(whole, anchors=np.array([], dtype=np.int64))
    all_kept = replace(whole, is_kept=np.full(4, True))
    none = np.array([], dtype=np.int64)
    no_steps = replace(
        whole, refine_rows=none, margin_tokens=np.zeros((0, 2), np.int64), refine_labels=np.zeros((0, 2), np.int64),
        refine_positions=(),
    )  # fmt: skip
    nothing_listed = replace(
        no_steps, early_rows=none, early_tokens=none, candidate_spans=(), is_kept=np.array([], dtype=bool), candidate_labels=none
    )
    found = scored(tiny_decoder("gpt2"), [whole, without_anchors, all_kept, no_steps, nothing_listed])
    is_there = {name: np.isfinite(getattr(found, name)).all(axis=(1, 2)).tolist() for name in SCORE_NAMES}
    assert is_there == {
        "kurtosis": [True, True, True, True, False],
        "anchor_alignment": [True, False, True, True, False],
        "coarse_score": [True, False, True, True, False],
        "qk_refinement": [True, True, False, False, False],
        "ov_helpfulness": [True, True, True, False, False],
        "refine_score": [True, True, False, False, False],
    }


def test_a_candidate_named_after_a_row_does_not_count_there() -> None:
    whole = drawn_sequence(0)
    early = replace(whole, refine_rows=np.array([whole.candidate_spans[1][-1], *whole.refine_rows[1:]]))
    model = tiny_decoder("llama")
    rows = measure_rows(watch_heads(model), [early], pad([early.token_ids.tolist()], 0))
    expected = eager_scores(model, [early], pad([early.token_ids.tolist()], 0))
    np.testing.assert_allclose(score_documents(rows).qk_refinement, expected["qk_refinement"], atol=1e-6)


def test_bfloat16_scores_are_those_of_float32_to_its_precision() -> None:
    sequences = [planted_sequence(seed) for seed in range(3)]
    exact, rough = scored(planted_decoder(), sequences), scored(planted_decoder().bfloat16(), sequences)
    np.testing.assert_allclose(exact.refine_score, rough.refine_score, rtol=0.1, atol=0.05)
    np.testing.assert_allclose(exact.coarse_score, rough.coarse_score, rtol=0.1, atol=0.05)


def test_broken_weights_are_refused_with_their_layer() -> None:
    model = tiny_decoder("llama")
    with torch.no_grad():
        model.get_parameter("model.layers.1.self_attn.q_proj.weight")[0, 0] = float("nan")
    with pytest.raises(ModelRefusedError, match="layer 1, head 0"):
        scored(model, [drawn_sequence(0)])


def test_even_attention_has_no_kurtosis_and_a_row_without_keys_has_none_at_all() -> None:
    attention = torch.full((1, 1, 3, 5), 0.2)
    attention[0, 0, 1] = torch.tensor([1.0, 0, 0, 0, 0])
    seen = torch.ones(1, 1, 3, 5, dtype=torch.bool)
    seen[0, 0, 2] = False
    even, peak, blind = excess_kurtosis(attention, seen)[0, 0].tolist()
    assert even == 0
    assert peak == pytest.approx((0.2 * 0.8**4 + 0.8 * 0.2**4) / 0.16**2 - 3, abs=1e-5)
    assert np.isnan(blind)
