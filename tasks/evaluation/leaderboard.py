"""All systems on all segments: the rows of `out_metrics` and `out_contrasts`."""

import logging

import numpy as np
import polars as pl

from schemas.config import EvaluateConfig
from schemas.errors import ConfigError, EmptyTargetError
from schemas.fields import SEGMENTS
from tasks.evaluation.contrasts import contrast_pairs
from tasks.evaluation.metrics import document_values
from tasks.evaluation.propensity import inverse_propensities
from tasks.evaluation.segments import count_train_documents, label_segments, segment_targets
from tasks.intervals.contrasts import contrast_rows
from tasks.intervals.resampling import metric_rows, resample_documents

logger = logging.getLogger(__name__)


def split_targets(relevance: pl.DataFrame, split: str) -> pl.DataFrame:
    """`document_id` and `label_id` of a split's known targets: relevance above 0, filtered pairs left out."""
    known = (pl.col("split") == split) & ~pl.col("is_filtered") & (pl.col("relevance") > 0)
    return relevance.filter(known).select("document_id", "label_id")


def describe_targets(
    labels: pl.DataFrame, relevance: pl.DataFrame, train_document_count: int, config: EvaluateConfig
) -> pl.DataFrame:
    """The test targets with `segment` and `inverse_propensity` of their labels, both from train alone.

    Raises:
        EmptyTargetError: no test document has a target, or train is too small for propensities.
        ConfigError: head and tail overlap.
    """
    targets = split_targets(relevance, "test")
    if targets.is_empty():
        raise EmptyTargetError("core_relevance: no test document has a target, so no metric is defined; ingest a test split")
    counts = count_train_documents(labels, split_targets(relevance, "train"))
    described = label_segments(counts, config.head_min_count, config.tail_max_count)
    weighted = inverse_propensities(described, train_document_count, config.propensity_a, config.propensity_b)
    return targets.join(weighted.select("label_id", "segment", "inverse_propensity"), on="label_id")


def score_systems(
    hits: pl.DataFrame, targets: pl.DataFrame, seeds: dict[str, tuple[int, ...]], config: EvaluateConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Metrics and contrasts of all systems on every segment that has a target.

    All systems are scored on the same documents: those with a target in the segment, whatever they predicted.

    Args:
        hits: of `metrics.find_hits`.
        targets: of `describe_targets`.
        seeds: the seeds of every system.
        config: cutoffs, resamples, baseline, seed.

    Returns:
        Rows of `out_metrics` and of `out_contrasts`, without the run's own columns.

    Raises:
        ConfigError: a cutoff is larger than the lists that were kept.
    """
    if max(config.ks) > config.prediction_count:
        raise ConfigError(
            f"evaluate.ks has {max(config.ks)}, but only evaluate.prediction_count = {config.prediction_count} "
            f"labels are kept a document; raise it or lower the cutoff"
        )
    pairs = contrast_pairs(list(seeds), config.baseline)
    total = targets["document_id"].n_unique()
    metrics, contrasts = [], []
    for number, segment in enumerate(SEGMENTS):
        counted = segment_targets(targets, segment)
        if counted.is_empty():
            logger.info("segment %s: no target of %d documents is in it, so it has no metrics", segment, total)
            continue
        generator = np.random.default_rng((config.seed, number))
        resamples = resample_documents(
            document_values(hits, counted, seeds, sorted(set(config.ks))), config.bootstrap_count, generator
        )
        kept = resamples.document_count
        logger.info("segment %s: %d targets of %d documents; %d documents have none", segment, len(counted), kept, total - kept)
        metrics.append(metric_rows(resamples, segment, generator))
        contrasts.append(contrast_rows(resamples, pairs, segment, generator))
    return pl.concat(metrics), pl.concat(contrasts, how="vertical_relaxed")
