from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks.open_models.places import find_places
from tasks.sequences.batches import Side, pad
from tests.unit.heads.drawn_sequences import drawn_sequence

ONE, OTHER = drawn_sequence(0, 4), drawn_sequence(1, 2, anchor_count=3, refine_count=1)


@pytest.mark.parametrize("side", ["left", "right"])
def test_places_point_at_the_same_tokens_on_whichever_side_padding_stands(side: Side) -> None:
    batch = pad([one.token_ids.tolist() for one in (ONE, OTHER)], 0, side)
    places = find_places([ONE, OTHER], batch)
    for row, one in enumerate((ONE, OTHER)):
        tokens = batch.token_ids[row]
        assert tokens[places.early[row][places.is_early[row]]].tolist() == one.token_ids[one.early_rows].tolist()
        assert tokens[places.refine[row][places.is_refine[row]]].tolist() == one.token_ids[one.refine_rows].tolist()
        for candidate, span in enumerate(one.candidate_spans):
            assert tokens[places.spans[row, candidate] == 1].tolist() == one.token_ids[span].tolist()


def test_rows_that_fill_up_stand_on_a_token_of_their_sequence_and_count_for_nothing() -> None:
    batch = pad([one.token_ids.tolist() for one in (ONE, OTHER)], 0, "left")
    places = find_places([ONE, OTHER], batch)
    filling = places.early[1][~places.is_early[1]]
    assert filling.tolist() == [batch.offsets[1]] * 2
    assert places.is_early.sum(1).tolist() == [4, 2]


def test_anchor_weights_take_the_mean_over_anchors_minus_that_over_the_document() -> None:
    places = find_places([ONE, OTHER], pad([one.token_ids.tolist() for one in (ONE, OTHER)], 0))
    states = torch.arange(places.anchor_weights.shape[1], dtype=torch.float32)
    expected = [one.anchors.mean() - one.document.mean() for one in (ONE, OTHER)]
    np.testing.assert_allclose((places.anchor_weights @ states).numpy(), expected, atol=1e-5)


def test_weights_of_candidates_are_means_over_those_named_in_full_before_the_row() -> None:
    first = replace(ONE, refine_rows=np.array([ONE.candidate_spans[2][-1], *ONE.refine_rows[1:]]))
    places = find_places([first], pad([first.token_ids.tolist()], 0))
    assert places.kept[0, 0].tolist() == [0.5, 0, 0.5, 0]
    assert places.dropped[0, 0].tolist() == [0, 1, 0, 0]
    assert places.dropped[0, 1].tolist() == [0, 0.5, 0, 0.5]


def test_has_both_needs_a_kept_and_a_dropped_candidate() -> None:
    all_kept = replace(ONE, is_kept=np.full(4, True))
    places = find_places([ONE, all_kept], pad([ONE.token_ids.tolist()] * 2, 0))
    assert places.has_both.tolist() == [[True] * 3, [False] * 3]
