import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from schemas.errors import ConfigError, TrainingError
from schemas.fields import MATCHED_PHASES, SCORE_NAMES
from schemas.tables import CORE_HEAD_MATCHES
from tasks.decoder_students.matching import (
    RANKED,
    UNKNOWN,
    HeadMatch,
    Profiles,
    Slot,
    choose_teacher_heads,
    draw_teacher_heads,
    match_costs,
    match_heads,
    quantiles,
    read_profiles,
)

SCORES = len(SCORE_NAMES)


def profiles_of(layers: int, heads: int, seed: int = 0) -> Profiles:
    drawn: Profiles = np.random.default_rng(seed).normal(size=(layers, heads, SCORES))
    return drawn


def slots_of(layers: int, heads: int, phase: str = "p1") -> list[Slot]:
    return [Slot(phase, layer, head) for layer in range(layers) for head in range(heads)]


def frame_of(profiles: Profiles) -> pl.DataFrame:
    layers, heads, _ = profiles.shape
    layer, head = (axis.ravel() for axis in np.indices((layers, heads)))
    columns = {name: profiles[:, :, at].ravel() for at, name in enumerate(SCORE_NAMES)}
    return pl.DataFrame({"layer": layer, "head": head} | columns).with_columns(pl.col(SCORE_NAMES).fill_nan(None))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 999), st.floats(0, 0.6))
@settings(deadline=None)
def test_match_heads_finds_every_head_of_a_copy_whose_heads_are_permuted(
    layers: int, heads: int, seed: int, unknown_frac: float
) -> None:
    generator = np.random.default_rng(seed)
    teacher = profiles_of(layers, heads, seed)
    unknown = generator.random(teacher.shape) < unknown_frac
    unknown[..., 0] = False  # something tells every head from every other
    teacher[unknown] = np.nan
    orders = [generator.permutation(heads) for _ in range(layers)]
    student = np.stack([7 * teacher[layer, order] + 3 for layer, order in enumerate(orders)])  # another scale, the same ranks
    matches = match_heads(slots_of(layers, heads), teacher, student)
    assert [(one.student_layer, orders[one.student_layer][one.student_head]) for one in matches] == [
        (one.teacher_layer, one.teacher_head) for one in matches
    ]
    assert [one.match_cost for one in matches] == pytest.approx(
        [UNKNOWN * unknown[one.teacher_layer, one.teacher_head].mean() for one in matches]
    )


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 999), st.data())
@settings(deadline=None)
def test_match_heads_never_uses_a_student_head_twice_and_keeps_the_slots(
    teacher_layers: int, teacher_heads: int, layers: int, heads: int, seed: int, data: st.DataObject
) -> None:
    candidates = [slot for phase in MATCHED_PHASES for slot in slots_of(teacher_layers, teacher_heads, phase)]
    slots = data.draw(st.lists(st.sampled_from(candidates), unique=True, max_size=layers * heads))
    matches = match_heads(slots, profiles_of(teacher_layers, teacher_heads, seed), profiles_of(layers, heads, seed + 1))
    assert [Slot(one.matched_phase, one.teacher_layer, one.teacher_head) for one in matches] == slots
    students = {(one.student_layer, one.student_head) for one in matches}
    assert len(students) == len(slots)
    assert students <= {(layer, head) for layer in range(layers) for head in range(heads)}


def test_match_heads_gives_a_head_in_both_phases_two_students() -> None:
    teacher = profiles_of(1, 4)
    matches = match_heads([Slot("p1", 0, 2), Slot("p2", 0, 2)], teacher, teacher)
    assert [one.match_cost == 0.0 for one in matches].count(True) == 1
    assert len({one.student_head for one in matches}) == 2


def test_match_heads_takes_the_least_total_cost_where_the_nearest_head_is_wanted_twice() -> None:
    teacher, student = (np.zeros((1, count, SCORES)) for count in (3, 3))
    teacher[0, :, :] = np.array([1.0, 0.9, 0.0])[:, None]
    student[0, :, :] = np.array([0.0, 0.6, 1.0])[:, None]
    slots = [Slot("p1", 0, 1), Slot("p1", 0, 0)]  # quantiles 0.5 and 1
    assert [one.student_head for one in match_heads(slots, teacher, student)] == [1, 2]
    costs = match_costs(slots, teacher, student)
    assert sum(one.match_cost for one in match_heads(slots, teacher, student)) == costs[linear_sum_assignment(costs)].sum()


def test_match_heads_refuses_a_student_with_too_few_heads_by_both_counts() -> None:
    with pytest.raises(
        ConfigError, match=re.escape("5 heads of the teacher are to be imitated, but the student has 4 (2 layers")
    ):
        match_heads(slots_of(1, 5), profiles_of(1, 5), profiles_of(2, 2))


def test_match_heads_gives_the_columns_of_the_table() -> None:
    given_by_the_caller = {"dataset", "system", "seed"}
    assert set(HeadMatch.__annotations__) == set(CORE_HEAD_MATCHES.schema) - given_by_the_caller


def test_match_heads_of_nothing_is_nothing() -> None:
    assert match_heads([], profiles_of(1, 2), profiles_of(1, 2)) == ()


def test_match_costs_are_the_differences_of_quantiles_and_of_relative_depth() -> None:
    teacher, student = np.zeros((4, 1, SCORES)), np.zeros((2, 1, SCORES))
    teacher[:, 0, :] = np.array([1.0, 2.0, 3.0, 4.0])[:, None]
    student[:, 0, :] = np.array([8.0, 9.0])[:, None]
    costs = match_costs([Slot("p1", 1, 0)], teacher, student)  # quantile 1/3 and depth 3/8, against 0 and 1, 1/4 and 3/4
    assert costs.tolist() == [pytest.approx([1 / 3 + 1 / 8, 2 / 3 + 3 / 8])]


def test_match_costs_count_a_score_that_either_lacks_as_that_of_a_random_head() -> None:
    teacher = profiles_of(1, 3)
    student = teacher.copy()
    student[..., -1] = np.nan
    costs = match_costs(slots_of(1, 3), teacher, student)
    assert np.diag(costs).tolist() == pytest.approx([UNKNOWN / SCORES] * 3)


def test_quantiles_run_from_0_to_1_and_equal_scores_share_one() -> None:
    profiles = np.zeros((2, 2, 1))
    profiles[..., 0] = [[5.0, -1.0], [5.0, 9.0]]
    assert quantiles(profiles)[..., 0].tolist() == [[0.5, 0.0], [0.5, 1.0]]


def test_quantiles_leave_unknown_scores_out_of_the_ranks() -> None:
    profiles = np.array([[[np.nan], [3.0], [1.0]]])
    assert quantiles(profiles)[0, 1:, 0].tolist() == [1.0, 0.0]
    assert np.isnan(quantiles(profiles)[0, 0, 0])
    assert quantiles(profiles[:, :2])[0, 1, 0] == 0.5


def test_read_profiles_places_each_head_whatever_the_order_of_the_rows() -> None:
    profiles = profiles_of(2, 3)
    profiles[1, 2, 4] = np.nan
    np.testing.assert_array_equal(read_profiles(frame_of(profiles).sample(fraction=1.0, shuffle=True, seed=1)), profiles)


def scored(coarse: list[float | None], refine: list[float | None]) -> pl.DataFrame:
    """Two heads a layer."""
    number = range(len(coarse))
    columns = {"layer": [at // 2 for at in number], "head": [at % 2 for at in number]}
    return pl.DataFrame(columns | {"coarse_score": coarse, "refine_score": refine}, strict=False)


def test_choose_teacher_heads_takes_the_highest_score_of_each_phase() -> None:
    scores = scored([1.0, 4.0, 3.0, 2.0], [0.0, -1.0, 5.0, 0.5])
    assert choose_teacher_heads(scores, 2, 1) == (Slot("p1", 0, 1), Slot("p1", 1, 0), Slot("p2", 1, 0))


def test_choose_teacher_heads_puts_unknown_scores_last_and_ties_by_layer_and_head() -> None:
    scores = scored([None, 2.0, 2.0, float("nan")], [1.0, 1.0, 1.0, 1.0]).sample(fraction=1.0, shuffle=True, seed=3)
    chosen = choose_teacher_heads(scores, 3, 3)
    assert chosen[:3] == (Slot("p1", 0, 1), Slot("p1", 1, 0), Slot("p1", 0, 0))
    assert chosen[3:] == (Slot("p2", 0, 0), Slot("p2", 0, 1), Slot("p2", 1, 0))


def test_choose_teacher_heads_refuses_a_phase_that_no_head_was_scored_for() -> None:
    scores = scored([1.0, 2.0], [None, float("nan")])
    with pytest.raises(TrainingError, match=r"none of the teacher's 2 heads has a refine_score"):
        choose_teacher_heads(scores, 1, 1)
    assert choose_teacher_heads(scores, 1, 0) == (Slot("p1", 0, 1),)


def test_choose_and_draw_teacher_heads_refuse_more_heads_than_there_are() -> None:
    with pytest.raises(ConfigError, match=r"3 heads of the teacher are to be imitated in p2, but it has 2.*phase2_heads"):
        choose_teacher_heads(scored([1.0, 2.0], [1.0, 2.0]), 2, 3)
    with pytest.raises(ConfigError, match=r"5 heads of the teacher are to be imitated in p1, but it has 4.*phase1_heads"):
        draw_teacher_heads(2, 2, 5, 1, 0, [])


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 99), st.data())
@settings(deadline=None)
def test_draw_teacher_heads_draws_as_many_without_replacement_and_scored_ones_only_for_want_of_others(
    layers: int, heads: int, seed: int, data: st.DataObject
) -> None:
    count = layers * heads
    excluded = data.draw(st.sets(st.sampled_from([(layer, head) for layer in range(layers) for head in range(heads)])))
    asked = {phase: data.draw(st.integers(0, count)) for phase in MATCHED_PHASES}
    drawn = draw_teacher_heads(layers, heads, asked["p1"], asked["p2"], seed, excluded)
    others = count - len(excluded)
    by_phase = {phase: {(one.layer, one.head) for one in drawn if one.matched_phase == phase} for phase in MATCHED_PHASES}
    assert {phase: len(found) for phase, found in by_phase.items()} == asked
    assert len(drawn) == sum(asked.values())
    assert all(0 <= one.layer < layers and 0 <= one.head < heads for one in drawn)
    for phase, found in by_phase.items():
        assert len(found & excluded) == max(0, asked[phase] - others)
    if sum(asked.values()) <= others:
        assert not by_phase["p1"] & by_phase["p2"]


def test_draw_teacher_heads_is_reproducible_and_follows_the_seed() -> None:
    drawn = [draw_teacher_heads(6, 8, 3, 3, seed, [(0, 1), (5, 7)]) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_draw_teacher_heads_draws_every_other_head_about_as_often() -> None:
    excluded = [(0, 0), (1, 1)]
    counts = np.zeros((2, 4))
    for seed in range(600):
        for one in draw_teacher_heads(2, 4, 1, 2, seed, excluded):
            counts[one.layer, one.head] += 1
    others = np.delete(counts.ravel(), [0, 5])
    assert counts[0, 0] == counts[1, 1] == 0
    assert others.min() > 240  # 300 each are expected, the standard deviation is 12
    assert others.max() < 360


def test_ranked_scores_are_those_of_the_table_and_of_both_phases() -> None:
    assert set(RANKED) == set(MATCHED_PHASES)
    assert set(RANKED.values()) <= set(SCORE_NAMES)
