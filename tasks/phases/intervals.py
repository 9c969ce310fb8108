"""Intervals of means over documents: documents are resampled, and every column sees the same ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

BLOCK_CELLS = 4_000_000
"""Documents drawn at once (32 MB): memory stays flat however many documents and resamples there are."""

ROUNDING = 1e-12
"""Differences this small are rounding of sums in another order."""


@dataclass(frozen=True)
class Mean:
    """A mean over documents with its 95% interval; `p_value`: two-sided, of the mean being 0."""

    value: float
    low: float
    high: float
    p_value: float
    document_count: int


def mean_intervals(columns: Sequence[Values], resample_count: int, seed: int) -> list[Mean]:
    """The mean of each column with the 95% percentile interval of its bootstrap, widened to hold the mean.

    Args:
        columns: one value a document each, all of the same documents, at least one.
        resample_count: resamples to draw.
        seed: draws the documents; the same for columns of as many documents.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (interval), sections 15.4 and 16.4
        (p-value by inverting it), with Davison and Hinkley's (1997, section 4.2) + 1, so that it is never 0.
    """
    if not columns:
        return []
    values = np.stack(columns, axis=1)
    resampled = _resampled_means(values, resample_count, np.random.default_rng(seed))
    lows, highs = np.percentile(resampled, (2.5, 97.5), axis=0)
    means = values.mean(axis=0)
    parts = zip(means, np.minimum(lows, means), np.maximum(highs, means), _two_sided_p(resampled), strict=True)
    return [Mean(float(mean), float(low), float(high), float(p), len(values)) for mean, low, high, p in parts]


def _resampled_means(values: Values, resample_count: int, generator: np.random.Generator) -> Values:
    """Means over resampled documents: [document, column] to [resample, column]."""
    count = len(values)
    step = max(1, BLOCK_CELLS // count)
    blocks = []
    for start in range(0, resample_count, step):
        size = min(step, resample_count - start)
        drawn = generator.integers(0, count, (size, count)) + np.arange(size)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        blocks.append(times @ values / count)
    return np.concatenate(blocks)


def _two_sided_p(resampled: Values) -> Values:
    exact = np.where(np.abs(resampled) < ROUNDING, 0.0, resampled)
    least = np.minimum((exact <= 0).sum(axis=0), (exact >= 0).sum(axis=0))
    return np.asarray(np.minimum(1.0, 2.0 * (least + 1) / (len(resampled) + 1)), dtype=np.float64)
