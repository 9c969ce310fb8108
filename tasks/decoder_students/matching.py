"""Which heads of the teacher are imitated, and by which heads of the student.

The paper leaves the matching open. Ours: a head is known by how it ranks within its own model on the six scores, and by how deep
it stands; both compare across models of any size, and one assignment serves both phases, so that no student head imitates two.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from schemas.errors import ConfigError, TrainingError
from schemas.fields import SCORE_NAMES

UNKNOWN = 1 / 3
"""Distance of two quantiles one of which is not known: that expected of two drawn at random (uniform on 0..1)."""
RANKED = {"p1": "coarse_score", "p2": "refine_score"}
"""The score that ranks the teacher's heads for a phase."""

Profiles = Float[np.ndarray, "layer head score"]
"""Scores of every head of a model, in the order of `SCORE_NAMES`; NaN where a head has none."""


@dataclass(frozen=True, order=True)
class Slot:
    """One head of the teacher to be imitated in one phase; a head may have a slot in both."""

    matched_phase: str
    layer: int
    head: int


@dataclass(frozen=True)
class HeadMatch:
    """One row of `core_head_matches` without dataset, system and seed."""

    matched_phase: str
    teacher_layer: int
    teacher_head: int
    student_layer: int
    student_head: int
    match_cost: float


def read_profiles(scores: pl.DataFrame) -> Profiles:
    """Scores of all heads of one model from columns `layer`, `head` and `SCORE_NAMES`; NaN where null."""
    layers, heads = scores["layer"].to_numpy(), scores["head"].to_numpy()
    profiles = np.full((layers.max() + 1, heads.max() + 1, len(SCORE_NAMES)), np.nan)
    profiles[layers, heads] = scores.select(pl.col(SCORE_NAMES).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    return profiles


def match_heads(slots: Sequence[Slot], teacher: Profiles, student: Profiles) -> tuple[HeadMatch, ...]:
    """A student head of its own for each slot, of the least total cost; in the order of the slots.

    Args:
        slots: of both phases together.
        teacher: profiles of the teacher's heads.
        student: profiles of the student's heads.

    Raises:
        ConfigError: the student has fewer heads than there are slots.

    Source: `match_costs`, assigned by the algorithm of Crouse 2016 (as in scipy), which finds the optimum.
    """
    layer_count, head_count = student.shape[:2]
    if len(slots) > layer_count * head_count:
        raise ConfigError(
            f"{len(slots)} heads of the teacher are to be imitated, but the student has {layer_count * head_count} "
            f"({layer_count} layers of {head_count}), and each imitates at most one; lower decoder_students.phase1_heads or "
            "decoder_students.phase2_heads, or take a larger student"
        )
    costs = match_costs(slots, teacher, student)
    chosen = linear_sum_assignment(costs)[1].tolist()
    return tuple(
        HeadMatch(slot.matched_phase, slot.layer, slot.head, column // head_count, column % head_count, row[column])
        for slot, column, row in zip(slots, chosen, costs.tolist(), strict=True)
    )


def match_costs(slots: Sequence[Slot], teacher: Profiles, student: Profiles) -> Float[np.ndarray, "slot student_head"]:
    """Distance of each slot and each student head, from 0 to 2: of profiles and of relative depth, each from 0 to 1.

    mean over the scores of |quantile in the teacher - quantile in the student| + |relative depth - relative depth|. A score that
    either head lacks counts `UNKNOWN`.

    Args:
        slots: heads of the teacher.
        teacher: profiles of the teacher's heads.
        student: profiles of the student's heads; columns are its heads, layer by layer.
    """
    at = [slot.layer for slot in slots], [slot.head for slot in slots]
    apart = np.abs(quantiles(teacher)[at][:, None] - quantiles(student).reshape(1, -1, student.shape[-1]))
    deep = np.abs(_depths(teacher)[at][:, None] - _depths(student).reshape(1, -1))
    return np.asarray(np.where(np.isnan(apart), UNKNOWN, apart).mean(axis=-1) + deep)


def quantiles(profiles: Profiles) -> Profiles:
    """Each score's rank among all heads of the model that have it, scaled so that the lowest is 0 and the highest 1.

    Equal scores share the mean of their ranks; a single known score is in the middle; unknown ones stay NaN.
    """
    flat = profiles.reshape(-1, profiles.shape[-1])
    ranks = np.stack([_ranks(column) for column in flat.T], axis=-1)
    return ranks.reshape(profiles.shape)


def _ranks(column: Float[np.ndarray, " head"]) -> Float[np.ndarray, " head"]:
    is_known = np.isfinite(column)
    count = int(is_known.sum())
    ranks = np.full(len(column), np.nan)
    ranks[is_known] = (rankdata(column[is_known]) - 1) / (count - 1) if count > 1 else 0.5
    return ranks


def _depths(profiles: Profiles) -> Float[np.ndarray, "layer head"]:
    layer_count, head_count = profiles.shape[:2]
    return np.repeat((np.arange(layer_count)[:, None] + 0.5) / layer_count, head_count, axis=1)


def choose_teacher_heads(scores: pl.DataFrame, p1_count: int, p2_count: int) -> tuple[Slot, ...]:
    """The teacher's heads of highest CoarseScore for phase 1 and of highest RefineScore for phase 2.

    Unknown scores come last, equal ones by layer and head.

    Args:
        scores: rows of `core_head_scores` of the teacher.
        p1_count: heads of phase 1.
        p2_count: heads of phase 2.

    Raises:
        ConfigError: the teacher has fewer heads than asked for in a phase.
        TrainingError: no head has the score of a phase that is asked for.
    """
    return _top(scores, "p1", p1_count) + _top(scores, "p2", p2_count)


def _top(scores: pl.DataFrame, phase: str, count: int) -> tuple[Slot, ...]:
    name = RANKED[phase]
    _check_count(phase, count, len(scores))
    known = scores.select("layer", "head", pl.col(name).cast(pl.Float64).fill_nan(None))
    if count and known[name].null_count() == len(known):
        raise TrainingError(
            f"none of the teacher's {len(known)} heads has a {name}, so none can be imitated in {phase}: the documents scored "
            "lack what it is measured on; score more train documents (heads.score_documents)"
        )
    ordered = known.sort(name, "layer", "head", descending=[True, False, False], nulls_last=True)
    return tuple(Slot(phase, layer, head) for layer, head, _ in ordered.head(count).iter_rows())


def draw_teacher_heads(
    layer_count: int, head_count: int, p1_count: int, p2_count: int, seed: int, excluded: Collection[tuple[int, int]]
) -> tuple[Slot, ...]:
    """As many heads of the teacher, drawn without replacement: the control that says whether it matters which heads.

    Phase 2 draws from what phase 1 left. Where that does not suffice it takes heads of phase 1 too, as a head of high scores may
    stand in both. Only where a phase asks for more heads than there are outside `excluded` are excluded ones drawn for the rest:
    the control is then no longer free of scored heads, which shows as slots within `excluded`.

    Args:
        layer_count: layers of the teacher.
        head_count: its heads a layer.
        p1_count: heads of phase 1.
        p2_count: heads of phase 2.
        seed: equal seeds draw equal heads.
        excluded: (layer, head) of the scored heads.

    Raises:
        ConfigError: the teacher has fewer heads than asked for in a phase.
    """
    for phase, count in (("p1", p1_count), ("p2", p2_count)):
        _check_count(phase, count, layer_count * head_count)
    generator = np.random.default_rng(seed)
    scored = {layer * head_count + head for layer, head in excluded}
    others = set(range(layer_count * head_count)) - scored
    first = _draw(generator, (others, scored), p1_count)
    second = _draw(generator, (others - set(first), others & set(first), scored), p2_count)
    drawn = [("p1", number) for number in first] + [("p2", number) for number in second]
    return tuple(Slot(phase, *divmod(number, head_count)) for phase, number in drawn)


def _draw(generator: np.random.Generator, pools: Sequence[set[int]], count: int) -> list[int]:
    """From the first pool as long as it lasts, then from the next."""
    ordered = [int(number) for pool in pools for number in generator.permutation(sorted(pool))]
    return ordered[:count]


def _check_count(phase: str, count: int, available: int) -> None:
    if count > available:
        raise ConfigError(
            f"{count} heads of the teacher are to be imitated in {phase}, but it has {available}; lower "
            f"decoder_students.phase{phase[1]}_heads"
        )
