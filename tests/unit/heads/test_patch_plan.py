"""Which documents and heads are patched."""

import numpy as np
import polars as pl
import pytest

from schemas.config import HeadsConfig
from schemas.errors import ConfigError, EmptyTargetError
from tasks.heads.corruption import Corruptor
from tasks.heads.patch_plan import plan_patches, plan_sets
from tasks.labels.search import LabelIndex
from tasks.sequences.tokens import TokenSequence
from tests.support.token_sequences import token_sequence

INDEX = LabelIndex(np.arange(20, 30, dtype=np.int32), np.eye(10, dtype=np.float32))
MASK = Corruptor("mask", 9, 0)


def documents(count: int, anchors: tuple[int, ...] = (0,)) -> list[TokenSequence]:
    return [token_sequence(f"d{n:02}", [10, 11], anchors, [20 + n % 3, 23 + n % 4], [(20, 21)]) for n in range(count)]


def test_plan_patches_draws_documents_of_each_phase_by_seed() -> None:
    first, again, other = (plan_patches(documents(40), INDEX, MASK, HeadsConfig(patch_documents=12, seed=s)) for s in (0, 0, 1))
    names = [[case.sequence.document_id for case in plan.cases["refine"]] for plan in (first, again, other)]
    assert len(names[0]) == 12
    assert names[0] == names[1] != names[2]


def test_plan_patches_refines_in_a_family_of_enough_documents_else_anywhere() -> None:
    settings = HeadsConfig(family_size=4)
    large, small = (plan_patches(documents(count), INDEX, MASK, settings) for count in (20, 19))
    assert large.family is not None
    assert large.refinement_text == "20 of the 20 documents that refine in a closed family of 4 labels"
    assert small.family is None
    assert small.refinement_text == "19 documents, all labels: no closed family of labels leaves enough"


def test_plan_patches_counts_documents_without_anchors() -> None:
    plan = plan_patches([*documents(5), *documents(3, ())], INDEX, MASK, HeadsConfig())
    assert plan.no_anchor_count == 3


def test_plan_patches_refuses_a_single_document() -> None:
    with pytest.raises(EmptyTargetError, match="of 1 test documents with a trace 1 have anchors"):
        plan_patches(documents(1), INDEX, MASK, HeadsConfig())


def test_blocks_hold_every_case_once() -> None:
    plan = plan_patches(documents(10), INDEX, MASK, HeadsConfig())
    blocks = list(plan.blocks(4))
    sizes = [(one.phase, one.number, len(one.cases)) for one in blocks]
    assert [size for size in sizes if size[0] == "refine"] == [("refine", 0, 4), ("refine", 1, 4), ("refine", 2, 2)]
    for phase, cases in plan.cases.items():
        assert tuple(case for one in blocks if one.phase == phase for case in one.cases) == cases


def scores(layers: int = 6, heads: int = 8) -> pl.DataFrame:
    count = layers * heads
    places = {"layer": [n // heads for n in range(count)], "head": [n % heads for n in range(count)]}
    return pl.DataFrame(
        {**places, "coarse_score": [float(n) for n in range(count)], "refine_score": [-float(n) for n in range(count)]}
    )


def test_plan_sets_ranks_each_phase_by_its_own_score() -> None:
    sets = plan_sets(scores(), HeadsConfig(random_draws=2))
    assert [len(one.heads) for one in sets["shortlist"] if one.name == "top"] == [1, 2, 3, 4, 5, 48]
    assert sets["shortlist"][0].heads == ((5, 7),)
    assert sets["refine"][0].heads == ((0, 0),)
    assert len(sets["refine"]) == 5 * (1 + 1 + 2) + 1


def test_plan_sets_refuses_bins_without_controls() -> None:
    with pytest.raises(ConfigError, match="more than half of the model's 48"):
        plan_sets(scores(), HeadsConfig(bins=(3, 25)))
