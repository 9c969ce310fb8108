"""Intervals by resampling documents and, nested in the same resample, seeds; all systems see the same documents."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.fields import UNBOUNDED_METRICS

BLOCK_CELLS = 4_000_000
"""Cells of one block of drawn counts (32 MB): memory stays flat however many resamples and documents there are."""

MOST_UNITS = 10_000
"""Beyond so many documents, equal random groups of them are resampled: the interval's width keeps an error of 1%
(its variance is known to sqrt(2 / units)), and 1,000 resamples of a million documents take a second."""

ROUNDING = 1e-12
"""Differences this small are rounding of sums in another order."""

LOW, HIGH = 2.5, 97.5

Values = NDArray[np.float64]
"""Axes [document, column] or [seed, document, column]; a column is one metric at one k."""


@dataclass(frozen=True)
class DocumentValues:
    """The values of all systems on one set of documents.

    `columns` are (metric, k); `seeds` and `numerators` ([seed, document, column]) go by system; `denominators`
    ([document, column]) depend on the targets alone, so every system has the same.
    """

    columns: tuple[tuple[str, int], ...]
    seeds: dict[str, tuple[int, ...]]
    numerators: dict[str, Values]
    denominators: Values


@dataclass(frozen=True)
class Resamples:
    """Metrics of all systems on all documents (`observed`, [seed, column]) and on resamples ([resample, seed, column])."""

    columns: tuple[tuple[str, int], ...]
    seeds: dict[str, tuple[int, ...]]
    document_count: int
    observed: dict[str, Values]
    resampled: dict[str, Values]


def draw_counts(generator: np.random.Generator, item_count: int, resample_count: int) -> Values:
    """How often each item is drawn, [resample, item]: `item_count` draws with replacement a resample."""
    drawn = generator.integers(0, item_count, (resample_count, item_count))
    drawn += np.arange(resample_count)[:, None] * item_count
    counts = np.bincount(drawn.ravel(), minlength=resample_count * item_count)
    return counts.reshape(resample_count, item_count).astype(np.float64)


def resample_documents(values: DocumentValues, resample_count: int, generator: np.random.Generator) -> Resamples:
    """Every metric of every system and seed on resampled documents, the same documents for all of them.

    Numerators and denominators are summed over the drawn documents before they are divided, so a ratio of means is
    resampled as a ratio. Beyond `MOST_UNITS` documents, random groups of documents are drawn in their place.

    Args:
        values: at least one document.
        resample_count: resamples to draw.
        generator: draws the documents.
    """
    document_count = len(values.denominators)
    units = pool_documents(values, MOST_UNITS, generator) if document_count > MOST_UNITS else values
    blocks = list(_count_blocks(generator, len(units.denominators), resample_count, units))
    resampled = {system: np.concatenate([block[system] for block in blocks]) for system in values.seeds}
    total = values.denominators.sum(axis=0)
    observed = {system: part.sum(axis=1) / total for system, part in values.numerators.items()}
    return Resamples(values.columns, values.seeds, document_count, observed, resampled)


def pool_documents(values: DocumentValues, unit_count: int, generator: np.random.Generator) -> DocumentValues:
    """The values summed over `unit_count` random groups of documents, equal in size to within one document."""
    document_count = len(values.denominators)
    order = generator.permutation(document_count)
    starts = np.arange(unit_count) * document_count // unit_count

    def pooled(part: Values) -> Values:
        return np.asarray(np.add.reduceat(part[..., order, :], starts, axis=-2))

    numerators = {system: pooled(part) for system, part in values.numerators.items()}
    return DocumentValues(values.columns, values.seeds, numerators, pooled(values.denominators))


def _count_blocks(
    generator: np.random.Generator, unit_count: int, resample_count: int, values: DocumentValues
) -> Iterator[dict[str, Values]]:
    step = max(1, BLOCK_CELLS // unit_count)
    for start in range(0, resample_count, step):
        counts = draw_counts(generator, unit_count, min(step, resample_count - start))
        total = counts @ values.denominators
        yield {system: np.swapaxes(counts @ part, 0, 1) / total[:, None] for system, part in values.numerators.items()}


def resample_seeds(resampled: Values, generator: np.random.Generator) -> Values:
    """The mean over seeds drawn anew in each resample: [resample, seed, column] to [resample, column].

    With one seed nothing varies, and the interval is that of the documents alone.
    """
    resample_count, seed_count, _ = resampled.shape
    weights = draw_counts(generator, seed_count, resample_count) / seed_count
    return np.asarray(np.einsum("rs,rsc->rc", weights, resampled))


def percentile_interval(resampled: Values, observed: Values) -> tuple[Values, Values]:
    """Ends of the 95% percentile interval of each column, widened to hold the observed value.

    Args:
        resampled: axes [resample, column].
        observed: the value of each column.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    low, high = np.percentile(resampled, (LOW, HIGH), axis=0)
    return np.minimum(low, observed), np.maximum(high, observed)


def metric_rows(resamples: Resamples, segment: str, generator: np.random.Generator) -> pl.DataFrame:
    """Rows of `out_metrics` (all but the run's own columns) of every system on one segment.

    Args:
        resamples: of `resample_documents`.
        segment: which labels counted.
        generator: draws the seeds.
    """
    return pl.concat(_system_rows(resamples, system, segment, generator) for system in resamples.seeds)


def _system_rows(resamples: Resamples, system: str, segment: str, generator: np.random.Generator) -> pl.DataFrame:
    by_seed = resamples.observed[system]
    seed_count = len(by_seed)
    value = by_seed.mean(axis=0)
    low, high = percentile_interval(resample_seeds(resamples.resampled[system], generator), value)
    is_share = np.array([metric not in UNBOUNDED_METRICS for metric, _ in resamples.columns])
    value, low, high = (np.where(is_share, np.clip(part, 0, 1), part) for part in (value, low, high))
    seed_sd = pl.Series(by_seed.std(axis=0, ddof=1) if seed_count > 1 else [None] * len(value), dtype=pl.Float64)
    return pl.DataFrame(
        {
            "metric": [metric for metric, _ in resamples.columns],
            "k": [k for _, k in resamples.columns],
            "value": value,
            "ci_low": low,
            "ci_high": high,
            "seed_sd": seed_sd,
        }
    ).with_columns(
        system=pl.lit(system),
        segment=pl.lit(segment),
        document_count=pl.lit(resamples.document_count, pl.Int64),
        seed_count=pl.lit(seed_count, pl.Int32),
    )
