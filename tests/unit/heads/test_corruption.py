"""Corrupted copies: the same length, anchors of another or none, the response as it was."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from schemas.errors import ModelRefusedError
from tasks.heads.corruption import Corruptor, Phase, corrupted, donors_of, filler_id, patch_cases, patchable, shortlist_pairs
from tests.support.tiny_tokenizers import word_level
from tests.support.token_sequences import token_sequence

FIRST = token_sequence("a", [10, 11, 12, 13], [1, 3], [20, 21, 22], [(20, 21)])
SECOND = token_sequence("b", [14, 15, 16], [0], [23, 21], [(23, 21), (23, 24)])
THIRD = token_sequence("c", [17, 18, 19, 30, 31], [1, 2, 4], [25, 26, 27], [(25, 26)])
PHASES: tuple[Phase, ...] = ("shortlist", "refine")
NO_ANCHOR = token_sequence("d", [17, 18], [], [25], [(25, 26)])


def test_corrupted_swaps_anchors_and_nothing_else() -> None:
    found = corrupted(FIRST, THIRD, "swap", 0)
    assert found.tolist() == [10, 18, 12, 19, *FIRST.token_ids[4:]]


def test_corrupted_repeats_the_anchors_of_a_donor_that_has_fewer() -> None:
    assert corrupted(THIRD, FIRST, "swap", 0)[:5].tolist() == [17, 11, 13, 30, 11]


def test_corrupted_masks_anchors_with_the_filler() -> None:
    assert corrupted(FIRST, THIRD, "mask", 9)[:4].tolist() == [10, 9, 12, 9]
    assert FIRST.token_ids[1] == 11


def test_corrupted_swaps_the_shortlist_too_in_refinement() -> None:
    found = corrupted(FIRST, SECOND, "swap", 0, True)
    assert found.tolist() == [10, 14, 12, 14, 1, 23, 21, 23, 1, 20]


def test_corrupted_masks_the_shortlist_too_in_refinement() -> None:
    assert corrupted(FIRST, SECOND, "mask", 9, True).tolist() == [10, 9, 12, 9, 1, 9, 9, 9, 1, 20]


def test_corrupted_leaves_candidates_that_are_named_after_the_refinement_began() -> None:
    late = replace(FIRST, refine_rows=np.array([5]))
    assert corrupted(late, SECOND, "mask", 9, True).tolist() == [10, 9, 12, 9, 1, 9, 21, 22, 1, 20]


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_donors_of_gives_everybody_another_and_takes_everybody_once(count: int) -> None:
    donors = donors_of(count, 3)
    assert sorted(donors) == list(range(count))
    assert all(donor != place for place, donor in enumerate(donors))


def test_shortlist_pairs_leaves_out_labels_that_the_document_names_itself() -> None:
    pairs, is_measured = shortlist_pairs(FIRST, SECOND)
    assert pairs.tolist() == [[20, 23], [21, 21], [22, 23]]
    assert is_measured.tolist() == [True, False, False]


def test_patchable_needs_anchors_and_rows_of_the_phase() -> None:
    every = [FIRST, SECOND, THIRD, NO_ANCHOR]
    assert [one.document_id for one in patchable(every, "shortlist")] == ["a", "b", "c"]
    assert [one.document_id for one in patchable(every, "refine", frozenset({23, 24}))] == ["b"]


def test_patch_cases_measures_pairs_of_the_family_only() -> None:
    cases = patch_cases([FIRST, SECOND, THIRD], "refine", Corruptor("mask", 9, 0), frozenset({23, 24, 25, 26}))
    assert {case.sequence.document_id: case.is_measured.tolist() for case in cases} == {"b": [False, True], "c": [True]}


def test_patch_cases_corrupt_the_shortlist_in_refinement_only() -> None:
    corruptor = Corruptor("mask", 9, 0, corrupts_shortlist=True)
    early, late = (patch_cases([FIRST, SECOND, THIRD], phase, corruptor)[0] for phase in PHASES)
    assert early.corrupted_ids.tolist() == [10, 9, 12, 9, 1, 20, 21, 22, 1, 20]
    assert late.corrupted_ids.tolist() == [10, 9, 12, 9, 1, 9, 9, 9, 1, 20]


def test_patch_cases_of_one_document_are_none() -> None:
    assert patch_cases([FIRST], "shortlist", Corruptor("swap", 9, 0)) == []


def test_patch_cases_keep_the_response() -> None:
    for case in patch_cases([FIRST, SECOND, THIRD], "shortlist", Corruptor("swap", 9, 0)):
        start = case.sequence.response_start
        assert np.array_equal(case.corrupted_ids[start:], case.sequence.token_ids[start:])
        assert not np.array_equal(case.corrupted_ids[:start], case.sequence.token_ids[:start])


def test_filler_id_takes_the_unknown_word_first() -> None:
    tokenizer = word_level(["a"])
    assert filler_id(tokenizer) == tokenizer.unk_token_id


def test_filler_id_refuses_a_tokenizer_without_any() -> None:
    plain = PreTrainedTokenizerFast(tokenizer_object=word_level(["a"]).backend_tokenizer)  # type: ignore[no-untyped-call]  # theirs
    with pytest.raises(ModelRefusedError, match="corruption to swap"):
        filler_id(plain)
