"""Intervals over documents: which documents a resample holds, drawn once for all columns."""

import numpy as np
from jaxtyping import Float

Values = Float[np.ndarray, "document column"]

LOW, HIGH = 2.5, 97.5
"""Percentiles between which 95% of resamples lie."""

COLUMN_BLOCK = 512
"""Columns resampled at once: resamples x 512 numbers are held (4 MB at 1,000 resamples)."""


def draw_weights(document_count: int, resample_count: int, seed: int) -> Float[np.ndarray, "resample document"]:
    """How large a share each document is of each resample."""
    drawn = np.random.default_rng(seed).integers(0, document_count, (resample_count, document_count))
    drawn += np.arange(resample_count)[:, None] * document_count
    counts = np.bincount(drawn.ravel(), minlength=resample_count * document_count)
    return counts.reshape(resample_count, document_count) / document_count


def percentile_interval(
    resampled: Float[np.ndarray, "resample column"], observed: Float[np.ndarray, " column"]
) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, " column"]]:
    """Ends of the 95% percentile interval of each column, widened to hold the observed value.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    low, high = np.percentile(resampled, (LOW, HIGH), axis=0)
    return np.minimum(low, observed), np.maximum(high, observed)


def mean_intervals(
    values: Values, resample_count: int, seed: int
) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, " column"]]:
    """The 95% interval of the mean of each column over documents.

    Args:
        values: no NaN, at least one document.
        resample_count: resamples to draw.
        seed: draws them; the same documents for every column.
    """
    weights = draw_weights(len(values), resample_count, seed)
    starts = range(0, values.shape[1], COLUMN_BLOCK)
    parts = [values[:, start : start + COLUMN_BLOCK] for start in starts]
    ends = [percentile_interval(weights @ part, part.mean(axis=0)) for part in parts]
    lows, highs = zip(*ends, strict=True)
    return np.concatenate(lows), np.concatenate(highs)
