"""Which heads are patched together: the highest scored, and two controls of the same size, random and low-ranked.

Random sets are drawn from the heads outside the top set of their size, so that they hold none of what they are compared with.
Low sets are the heads outside it whose score is nearest to 0: a strongly negative score is an effect too, not the lack of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from schemas.errors import ConfigError

Head = tuple[int, int]
"""Layer and head."""

SetName = Literal["top", "random", "low"]

PAPER_BINS, PAPER_HEADS = (3, 8, 16, 40, 100), 5_120
"""Heads patched together, of so many. Source: Saha Roy et al., arXiv 2606.06840."""


@dataclass(frozen=True)
class HeadSet:
    """Heads that are patched together; `draw` numbers the random sets of one size, from 0."""

    name: SetName
    draw: int
    heads: tuple[Head, ...]

    @property
    def by_layer(self) -> dict[int, tuple[int, ...]]:
        """Head numbers of each layer that has any."""
        layers = sorted({layer for layer, _ in self.heads})
        return {layer: tuple(sorted(head for at, head in self.heads if at == layer)) for layer in layers}


def scaled_bins(head_count: int) -> tuple[int, ...]:
    """The paper's bins for a model of so many heads: in proportion, at least 1, growing, and at most half of the heads.

    Raises:
        ConfigError: the model has a single head, so that there is none to compare it with.
    """
    bins: list[int] = []
    for size in PAPER_BINS:
        scaled = max(round(size * head_count / PAPER_HEADS), bins[-1] + 1 if bins else 1)
        if 2 * scaled <= head_count:
            bins.append(scaled)
    return check_bins(bins or [1], head_count)


def check_bins(bins: Sequence[int], head_count: int) -> tuple[int, ...]:
    """The bins, if a control of as many other heads exists for each.

    Raises:
        ConfigError: a bin is larger than half of the model's heads.
    """
    large = [size for size in bins if 2 * size > head_count]
    if large:
        raise ConfigError(
            f"heads.bins: {large[-1]} heads are more than half of the model's {head_count}, so its controls, as many other "
            f"heads, do not exist; bins up to {head_count // 2} can be measured"
        )
    return tuple(bins)


def choose_sets(scores: Mapping[Head, float | None], bins: Sequence[int], draws: int, seed: int) -> list[HeadSet]:
    """The sets of every size: one of top heads, one of low ones, so many random ones; last all heads, as far as a patch can go.

    Args:
        scores: of every head of the model; null where a head has none, which ranks it behind all others.
        bins: sizes, as from `check_bins`.
        draws: random sets a size.
        seed: draws them; equal seeds give equal sets.
    """
    known = {head: -np.inf if score is None or np.isnan(score) else score for head, score in scores.items()}
    ranked = sorted(known, key=lambda head: (-known[head], head))
    found = []
    for size in bins:
        top, others = ranked[:size], ranked[size:]
        inert = sorted(others, key=lambda head: (abs(known[head]), head))
        found.append(HeadSet("top", 0, tuple(top)))
        found.append(HeadSet("low", 0, tuple(inert[:size])))
        found += [HeadSet("random", draw, _drawn(sorted(others), size, (seed, size, draw))) for draw in range(draws)]
    return [*found, HeadSet("top", 0, tuple(ranked))]


def _drawn(heads: Sequence[Head], size: int, seed: tuple[int, int, int]) -> tuple[Head, ...]:
    places = np.random.default_rng(seed).choice(len(heads), size, replace=False)
    return tuple(heads[place] for place in sorted(places.tolist()))
