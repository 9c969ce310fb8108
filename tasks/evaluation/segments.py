"""Labels by how often train has them: head, torso, tail, unseen; and what a metric of one segment counts."""

import polars as pl

from schemas.errors import ConfigError


def count_train_documents(labels: pl.DataFrame, train_targets: pl.DataFrame) -> pl.DataFrame:
    """`label_id` and `train_document_count`, a row for every label; 0 for labels that no train document has.

    Args:
        labels: `label_id` of every label.
        train_targets: `document_id` and `label_id` of train documents, each pair once, filtered pairs left out.
    """
    counts = train_targets.group_by("label_id").agg(train_document_count=pl.len().cast(pl.Int64))
    return labels.select("label_id").join(counts, on="label_id", how="left", maintain_order="left").fill_null(0)


def label_segments(counts: pl.DataFrame, head_min_count: int, tail_max_count: int) -> pl.DataFrame:
    """`counts` with the `segment` of each label.

    head: at least `head_min_count` train documents; tail: 1 to `tail_max_count`; unseen: none; torso: the rest.

    Raises:
        ConfigError: head and tail overlap.
    """
    if head_min_count <= tail_max_count:
        raise ConfigError(
            f"evaluate.head_min_count = {head_min_count} with evaluate.tail_max_count = {tail_max_count}: "
            f"a label would be head and tail; head_min_count must be larger"
        )
    count = pl.col("train_document_count")
    segment = (
        pl.when(count == 0)
        .then(pl.lit("unseen"))
        .when(count <= tail_max_count)
        .then(pl.lit("tail"))
        .when(count < head_min_count)
        .then(pl.lit("torso"))
        .otherwise(pl.lit("head"))
    )
    return counts.with_columns(segment=segment)


def segment_targets(targets: pl.DataFrame, segment: str) -> pl.DataFrame:
    """The targets that count in a segment; a document without any is not part of the segment.

    Predictions are not restricted to the segment's labels: a system does not know the segment of the answer, and a
    ranking cut down to it would be easier than the task. So P@k of a segment is the share of the k places that hold a
    target of that segment (a target of another segment counts as a miss), it cannot exceed min(k, |y|) / k, and it
    compares systems within a segment, not segments with each other. RP@k, R@k and nDCG@k divide by what the segment
    has to offer, so that they do both.

    Args:
        targets: pairs with the `segment` of the label.
        segment: one of `schemas.fields.SEGMENTS`; `all` keeps every target.
    """
    return targets if segment == "all" else targets.filter(pl.col("segment") == segment)
