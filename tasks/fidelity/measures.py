"""Fidelity as means of ratios over documents, by system and seed, and their intervals and contrasts by resampling documents."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool

from schemas.fields import DECODER_BASELINES
from schemas.tables import OUT_CONTRASTS, OUT_METRICS
from tasks.fidelity.simulators import Simulated
from tasks.intervals.contrasts import contrast_rows
from tasks.intervals.resampling import BLOCK_CELLS, Resamples, Values, draw_counts, metric_rows

logger = logging.getLogger(__name__)

OWN = ("run_id", "dataset", "split")


@dataclass(frozen=True)
class Measure:
    """The mean over `parts` of sum(weight * value) / sum(weight) over documents; each part is [document]: values, weights."""

    parts: tuple[tuple[Values, Values], ...]

    @property
    def is_defined(self) -> bool:
        """Every part has weight somewhere."""
        return all(weights.sum() > 0 for _, weights in self.parts)


def mean_of(values: Values) -> Measure:
    """The mean over documents; those without a value (NaN) do not count."""
    is_known = np.isfinite(values)
    return Measure(((np.where(is_known, values, 0.0), is_known.astype(np.float64)),))


def weighted_mean(values: Values, weights: Values) -> Measure:
    """The mean over documents by weight; those without a value (NaN) do not count."""
    is_known = np.isfinite(values)
    return Measure(((np.where(is_known, values, 0.0), np.where(is_known, weights, 0.0)),))


def simulability(found: Simulated) -> dict[str, Measure]:
    """LAS and its parts of one student, by metric.

    LAS = mean over the two groups, without weights, of acc(x, e) - acc(x): documents whose rationale alone gives the output away
    (the simulator of e is right: leaking) and those whose does not. It is not defined where a group is empty.

    Source: Hase et al. 2020, equation 3.
    """
    gain = found.xe.astype(np.float64) - found.x
    leaking, other = (gain, found.e.astype(np.float64)), (gain, (~found.e).astype(np.float64))
    return {
        "las": Measure((leaking, other)),
        "las_masked": _las(found.masked_xe.astype(np.float64) - found.x, found.masked_e),
        "simulator_accuracy_x": mean_of(found.x.astype(np.float64)),
        "simulator_accuracy_e": mean_of(found.e.astype(np.float64)),
        "simulator_accuracy_xe": mean_of(found.xe.astype(np.float64)),
        "las_leaking": Measure((leaking,)),
        "las_nonleaking": Measure((other,)),
        "leaking_frac": mean_of(found.e.astype(np.float64)),
    }


def _las(gain: Values, is_leaking: Bool[np.ndarray, " document"]) -> Measure:
    return Measure(((gain, is_leaking.astype(np.float64)), (gain, (~is_leaking).astype(np.float64))))


BySeed = Mapping[int, Measure]
"""A system's measure, by seed."""


def defined(metric: str, systems: Mapping[str, BySeed]) -> dict[str, dict[int, Measure]]:
    """The systems with the seeds for which the metric is defined; what is left out is logged."""
    kept: dict[str, dict[int, Measure]] = {}
    for system, seeds in systems.items():
        good = {seed: seeds[seed] for seed in sorted(seeds) if seeds[seed].is_defined}
        if len(good) < len(seeds):
            undefined = sorted(set(seeds) - set(good))
            logger.warning("fidelity: %s of %s is not defined for seeds %s: a group has no document", metric, system, undefined)
        if good:
            kept[system] = good
    return kept


def resample_measure(metric: str, systems: Mapping[str, BySeed], resample_count: int, seed: int) -> Resamples | None:
    """The metric of all systems on all documents and on resampled ones, the same for all; None where no system has it.

    In a resample without any document of a group the group keeps its observed mean; of a group of g documents that is one
    resample in e^g.

    Args:
        metric: its name.
        systems: measures by system and seed, all of the same documents.
        resample_count: resamples to draw.
        seed: draws the documents; equal numbers of documents get equal draws.
    """
    known = defined(metric, systems)
    if not known:
        return None
    columns = [measure for seeds in known.values() for measure in seeds.values()]
    observed = np.array([_observed(measure) for measure in columns])
    document_count = len(columns[0].parts[0][0])
    blocks = list(_resampled(columns, document_count, resample_count, np.random.default_rng(seed)))
    resampled = np.concatenate(blocks)
    cuts = np.cumsum([len(seeds) for seeds in known.values()])[:-1]
    by_system = dict(zip(known, np.split(resampled, cuts, axis=1), strict=True))
    by_value = dict(zip(known, np.split(observed, cuts), strict=True))
    return Resamples(
        ((metric, 0),),
        {system: tuple(seeds) for system, seeds in known.items()},
        document_count,
        {system: part[:, None] for system, part in by_value.items()},
        {system: part[:, :, None] for system, part in by_system.items()},
    )


def _observed(measure: Measure) -> float:
    return float(np.mean([(values * weights).sum() / weights.sum() for values, weights in measure.parts]))


def _resampled(
    columns: Sequence[Measure], document_count: int, resample_count: int, generator: np.random.Generator
) -> Iterator[Values]:
    """Blocks [resample, column]."""
    part_count = len(columns[0].parts)
    parts = [[column.parts[place] for column in columns] for place in range(part_count)]
    tops = [np.stack([values * weights for values, weights in part], axis=1) for part in parts]
    bottoms = [np.stack([weights for _, weights in part], axis=1) for part in parts]
    step = max(1, BLOCK_CELLS // document_count)
    for start in range(0, resample_count, step):
        counts = draw_counts(generator, document_count, min(step, resample_count - start))
        yield np.mean([_ratio(counts, top, bottom) for top, bottom in zip(tops, bottoms, strict=True)], axis=0)


def _ratio(counts: Values, top: Values, bottom: Values) -> Values:
    totals, weights = counts @ top, counts @ bottom
    observed = top.sum(axis=0) / bottom.sum(axis=0)
    is_empty = weights == 0
    return np.asarray(np.where(is_empty, observed, totals / np.where(is_empty, 1.0, weights)))


@dataclass(frozen=True)
class FidelityRows:
    """Rows of `out_metrics` and `out_contrasts` without run and dataset."""

    metrics: pl.DataFrame
    contrasts: pl.DataFrame


def fidelity_rows(
    measures: Mapping[str, Mapping[str, BySeed]], splits: Mapping[str, str], resample_count: int, seed: int
) -> FidelityRows:
    """All metrics of all systems with intervals over documents and seeds, and their differences from the baselines.

    Args:
        measures: by metric, system and seed.
        splits: the split of the documents of each metric; test where it names none.
        resample_count: resamples of an interval.
        seed: draws documents and seeds.
    """
    metrics, contrasts = [OUT_METRICS.empty().drop("run_id", "dataset")], [OUT_CONTRASTS.empty().drop("run_id", "dataset")]
    for metric, systems in measures.items():
        found = resample_measure(metric, systems, resample_count, seed)
        if found is None:
            continue
        generator = np.random.default_rng(seed)
        rows = metric_rows(found, "all", generator).with_columns(split=pl.lit(splits.get(metric, "test")))
        pairs = [(system, against) for against in DECODER_BASELINES if against in found.seeds for system in found.seeds]
        others = contrast_rows(found, [pair for pair in pairs if pair[0] != pair[1]], "all", generator)
        metrics.append(rows.select(metrics[0].columns))
        contrasts.append(others.select(contrasts[0].columns))
    return FidelityRows(pl.concat(metrics, how="vertical_relaxed"), pl.concat(contrasts, how="vertical_relaxed"))
