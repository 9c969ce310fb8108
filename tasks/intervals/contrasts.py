"""Differences between two systems, paired by document and seed."""

import logging
from collections.abc import Sequence

import numpy as np
import polars as pl

from schemas.tables import OUT_CONTRASTS
from tasks.intervals.resampling import ROUNDING, Resamples, Values, percentile_interval, resample_seeds

logger = logging.getLogger(__name__)

TEACHER, LEXICAL, EMBEDDING = "teacher", "lexical", "embedding"
NEIGHBOURS = "knn-gold"
"""Named for what it learns from: unlike the students it is trained on the known targets of train, not on the teacher."""

SEEDLESS = (TEACHER, LEXICAL, EMBEDDING, NEIGHBOURS)
"""Systems that draw nothing: their only seed, 0, stands beside every seed of a student."""


def pair_seeds(system: str, seeds: Sequence[int], baseline: str, baseline_seeds: Sequence[int]) -> list[tuple[int, int]]:
    """Positions of the paired seeds, (system's, baseline's): equal seeds together.

    A system that draws nothing stands beside every seed of the other. Seeds only one side has are left out.
    """
    if system in SEEDLESS or baseline in SEEDLESS:
        return [(i, j) for i in range(len(seeds)) for j in range(len(baseline_seeds))]
    return [(i, baseline_seeds.index(seed)) for i, seed in enumerate(seeds) if seed in baseline_seeds]


def two_sided_p(differences: Values) -> Values:
    """Two-sided p-value of each column's difference being 0: 2 (1 + least count beyond 0) / (B + 1), at most 1.

    Args:
        differences: resampled differences, axes [resample, column]; 0 counts on both sides.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 15.4 and 16.4 (inverting the percentile
        interval), with Davison and Hinkley's (1997, section 4.2) + 1, so that it is never 0.
    """
    exact = np.where(np.abs(differences) < ROUNDING, 0.0, differences)
    least = np.minimum((exact <= 0).sum(axis=0), (exact >= 0).sum(axis=0))
    return np.asarray(np.minimum(1.0, 2.0 * (least + 1) / (len(differences) + 1)), dtype=np.float64)


def contrast_rows(
    resamples: Resamples, pairs: Sequence[tuple[str, str]], segment: str, generator: np.random.Generator
) -> pl.DataFrame:
    """Rows of `out_contrasts` (all but the run's own columns) of all pairs on one segment.

    Args:
        resamples: of `resample_documents`: both systems of a pair on the same resampled documents.
        pairs: (system, baseline).
        segment: which labels counted.
        generator: draws the seeds, in pairs.
    """
    empty = OUT_CONTRASTS.empty().drop("run_id", "dataset")
    rows = [empty]
    for system, baseline in pairs:
        positions = pair_seeds(system, resamples.seeds[system], baseline, resamples.seeds[baseline])
        if positions:
            found = _pair_rows(resamples, system, baseline, positions, segment, generator)
            rows.append(found.select(empty.columns))
        else:
            logger.warning(
                "contrasts: %s has seeds %s, %s has %s, none in common, so they are not compared",
                system, resamples.seeds[system], baseline, resamples.seeds[baseline],
            )  # fmt: skip
    return pl.concat(rows, how="vertical_relaxed")


def _pair_rows(
    resamples: Resamples,
    system: str,
    baseline: str,
    positions: Sequence[tuple[int, int]],
    segment: str,
    generator: np.random.Generator,
) -> pl.DataFrame:
    ours, theirs = [i for i, _ in positions], [j for _, j in positions]
    by_seed = resamples.observed[system][ours] - resamples.observed[baseline][theirs]
    resampled = resample_seeds(resamples.resampled[system][:, ours] - resamples.resampled[baseline][:, theirs], generator)
    difference = by_seed.mean(axis=0)
    low, high = percentile_interval(resampled, difference)
    return pl.DataFrame(
        {
            "metric": [metric for metric, _ in resamples.columns],
            "k": [k for _, k in resamples.columns],
            "difference": difference,
            "ci_low": low,
            "ci_high": high,
            "p_value": two_sided_p(resampled),
        }
    ).with_columns(
        system=pl.lit(system),
        baseline=pl.lit(baseline),
        segment=pl.lit(segment),
        document_count=pl.lit(resamples.document_count, pl.Int64),
        seed_count=pl.lit(len(positions), pl.Int32),
    )
