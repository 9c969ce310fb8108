"""Sets of heads: sizes as in the paper, controls that hold none of the top heads."""

import pytest

from schemas.errors import ConfigError
from tasks.heads.head_sets import Head, HeadSet, check_bins, choose_sets, scaled_bins

SCORES: dict[Head, float | None] = {(0, 0): 5.0, (0, 1): -4.0, (1, 0): 0.1, (1, 1): 3.0, (2, 0): -0.2, (2, 1): None}


def named(sets: list[HeadSet], name: str) -> list[HeadSet]:
    return [one for one in sets if one.name == name]


@pytest.mark.parametrize(
    ("head_count", "bins"),
    [
        (5120, (3, 8, 16, 40, 100)),
        (2560, (2, 4, 8, 20, 50)),
        (48, (1, 2, 3, 4, 5)),
        (12, (1, 2, 3, 4, 5)),
        (6, (1, 2, 3)),
        (2, (1,)),
    ],
)
def test_scaled_bins_keep_the_papers_share_of_heads_and_grow(head_count: int, bins: tuple[int, ...]) -> None:
    assert scaled_bins(head_count) == bins


def test_scaled_bins_of_one_head_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 heads are more than half of the model's 1"):
        scaled_bins(1)


def test_check_bins_names_what_can_be_measured() -> None:
    assert check_bins((1, 3), 6) == (1, 3)
    with pytest.raises(ConfigError, match=r"4 heads are more than half of the model's 6.*up to 3"):
        check_bins((1, 4), 6)


def test_choose_sets_takes_the_highest_scores_cumulatively() -> None:
    top = named(choose_sets(SCORES, (1, 2, 3), 0, 0), "top")
    assert [one.heads for one in top[:-1]] == [((0, 0),), ((0, 0), (1, 1)), ((0, 0), (1, 1), (1, 0))]


def test_choose_sets_ends_with_all_heads() -> None:
    last = choose_sets(SCORES, (1, 2), 3, 0)[-1]
    assert (last.name, set(last.heads)) == ("top", set(SCORES))


def test_choose_sets_takes_scores_nearest_zero_as_low_not_the_most_negative() -> None:
    low = named(choose_sets(SCORES, (1, 2), 0, 0), "low")
    assert [one.heads for one in low] == [((1, 0),), ((1, 0), (2, 0))]


def test_choose_sets_draws_as_many_heads_outside_the_top_set() -> None:
    drawn = named(choose_sets(SCORES, (2, 3), 40, 7), "random")
    assert all(len(set(one.heads)) == len(one.heads) for one in drawn)
    assert {head for one in drawn if len(one.heads) == 2 for head in one.heads} == {(0, 1), (1, 0), (2, 0), (2, 1)}
    assert {one.heads for one in drawn if len(one.heads) == 3} == {((0, 1), (2, 0), (2, 1))}


def test_choose_sets_draws_the_same_from_the_same_seed() -> None:
    first, again, other = (choose_sets(SCORES, (1,), 10, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_by_layer_groups_heads() -> None:
    assert HeadSet("top", 0, ((2, 1), (0, 3), (2, 0))).by_layer == {0: (3,), 2: (0, 1)}
