"""Verdicts of patching: each standing from numbers made for it."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from schemas.config import HeadsConfig
from tasks.heads.head_sets import Head, HeadSet
from tasks.heads.patch_plan import PatchPlan
from tasks.heads.patch_verdicts import CLAIMS, patch_verdicts
from tasks.heads.patching import PATCH_VALUES, patch_values
from tasks.heads.verdicts import Verdict

COUNT, DRAWS = 40, 20
PLAN = PatchPlan({"shortlist": (), "refine": ()}, None, 0)
SETTINGS = HeadsConfig(bootstrap_count=200)
NOISE = np.random.default_rng(0).normal(size=(COUNT, DRAWS + 4))


def heads(count: int) -> tuple[Head, ...]:
    return tuple((0, head) for head in range(count))


def measured(
    top: float,
    low: float = 0.0,
    random: Sequence[float] = (0.0,) * DRAWS,
    distance: float = 1.0,
    direction: str = "denoise",
    quantity: str = "margin",
    spread: float = 0.05,
    every: float = 1.0,
) -> Verdict:
    """The verdict on shares of the distance that each set moves the quantity by, noise between documents added."""
    sign = -1.0 if quantity == "confusion" else 1.0
    corrupted = spread * NOISE[:, -1]
    clean = corrupted + sign * (distance + spread * NOISE[:, -2])
    start, way = (corrupted, sign) if direction == "denoise" else (clean, -sign)
    sets = [(HeadSet("top", 0, heads(2)), top), (HeadSet("low", 0, heads(2)), low), (HeadSet("top", 0, heads(9)), every)]
    sets += [(HeadSet("random", draw, heads(2)), share) for draw, share in enumerate(random)]
    phase = "shortlist" if quantity == "focus" else "refine"
    names = [f"d{number:02}" for number in range(COUNT)]
    frames = [
        patch_values(
            names, phase, direction, one, quantity, (start + way * (share * distance + spread * NOISE[:, place])).tolist(),
            clean.tolist(), corrupted.tolist(),
        )
        for place, (one, share) in enumerate(sets)
    ]  # fmt: skip
    kind = "sufficient" if direction == "denoise" else "necessary"
    claim = f"{phase}_heads_{kind}" + ("" if quantity == "margin" else f"_{quantity}")
    return next(one for one in patch_verdicts(pl.concat(frames), PLAN, SETTINGS) if one.claim == claim)


@pytest.mark.parametrize("quantity", ["margin", "focus", "confusion"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_patch_verdicts_hold_where_top_heads_beat_both_controls(direction: str, quantity: str) -> None:
    found = measured(0.6, direction=direction, quantity=quantity)
    assert found.standing == "holds"
    assert found.difference == pytest.approx(0.6, abs=0.05)
    assert found.ci_low == pytest.approx(0.6, abs=0.1)
    assert "Holds: the top" in found.sentence_text
    assert "2 heads 6" in found.sentence_text
    assert f"95% of {DRAWS} draws" in found.sentence_text


def test_patch_verdicts_fail_where_top_heads_do_what_random_ones_do() -> None:
    assert measured(0.5, random=(0.5,) * DRAWS).standing == "fails"
    assert measured(0.02).standing == "fails"


def test_patch_verdicts_fail_where_top_heads_do_less() -> None:
    found = measured(0.1, random=(0.5,) * DRAWS)
    assert found.standing == "fails"
    assert found.difference == pytest.approx(-0.4, abs=0.05)


def test_patch_verdicts_are_undecided_where_some_random_sets_do_as_much() -> None:
    assert measured(0.5, random=[0.0] * 18 + [0.6] * 2).standing == "undecided"


def test_patch_verdicts_are_undecided_where_low_ranked_heads_do_as_much() -> None:
    assert measured(0.5, low=0.5).standing == "undecided"


def test_patch_verdicts_are_undecided_where_documents_differ_too_much() -> None:
    assert measured(0.3, spread=2.0, distance=2.0).standing == "undecided"


def test_patch_verdicts_are_undecided_where_the_corruption_changes_nothing() -> None:
    found = measured(0.5, distance=0.0)
    assert found.standing == "undecided"
    assert "nothing to restore or destroy" in found.sentence_text


def test_patch_verdicts_are_undecided_where_not_even_all_heads_go_anywhere() -> None:
    found = measured(0.02, every=0.05)
    assert found.standing == "undecided"
    assert "all heads together 5%" in found.sentence_text


def test_patch_verdicts_without_values_say_so_for_every_claim() -> None:
    found = patch_verdicts(pl.DataFrame(schema=PATCH_VALUES), PLAN, SETTINGS)
    assert [one.claim for one in found] == [claim.name for claim in CLAIMS]
    assert {one.standing for one in found} == {"not_measured"}
