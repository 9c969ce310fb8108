"""What each variant of the teacher finds, document by document: both phases in one answer, or one phase alone."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from schemas.tables import OUT_CONTRASTS, OUT_METRICS
from tasks.phases.intervals import Mean, Values, mean_intervals

logger = logging.getLogger(__name__)

WHOLE, LIST_ALONE, ON_OWN, ON_INDEX, ON_STRANGER = "both", "phase-1", "phase-2-teacher", "phase-2-index", "phase-2-stranger"
PAIRS = (
    (LIST_ALONE, WHOLE), (ON_OWN, WHOLE), (ON_INDEX, WHOLE), (ON_STRANGER, WHOLE),
    (ON_OWN, LIST_ALONE), (ON_OWN, ON_INDEX), (ON_OWN, ON_STRANGER),
)  # fmt: skip
"""Compared with each other: each phase alone with both in one answer, and phase 2 on its own shortlist with less."""

SHORTLIST_RECALL, SHORTLIST_PRECISION = "shortlist_recall", "shortlist_precision"
ANSWER_PRECISION, ANSWER_RECALL, ANSWER_F1 = "answer_precision", "answer_recall", "answer_f1"

Difference = tuple[str, str, str]
"""Variant, the one it is compared with, metric."""


@dataclass(frozen=True)
class TraceLists:
    """The tables that variants are judged by: `core_traces`, `core_shortlist`, `core_answers`, `core_relevance`."""

    traces: pl.DataFrame
    shortlist: pl.DataFrame
    answers: pl.DataFrame
    relevance: pl.DataFrame


@dataclass(frozen=True)
class VariantScores:
    """Values a document by (variant, metric), all of the same documents in the same order."""

    document_count: int
    values: dict[tuple[str, str], Values]

    @property
    def differences(self) -> dict[Difference, Values]:
        """The paired differences of `PAIRS` in every metric both sides have."""
        metrics = {metric for _, metric in self.values}
        wanted = [(one, other, metric) for one, other in PAIRS for metric in sorted(metrics)]
        return {
            (one, other, metric): self.values[one, metric] - self.values[other, metric]
            for one, other, metric in wanted
            if {(one, metric), (other, metric)} <= self.values.keys()
        }


def asked_variants(traces: pl.DataFrame) -> tuple[str, ...]:
    """The variants that a test document has a trace of."""
    return tuple(sorted(traces.filter(pl.col("split") == "test")["variant"].unique()))


def score_variants(tables: TraceLists, variants: Sequence[str]) -> VariantScores:
    """Recall and precision of shortlists and answers on the test documents that have a target and a trace in every variant.

    A list counts with its distinct labels; what links to no label and filtered pairs are left out, and a list without a label
    scores 0. Phase 1 alone gives no answer: its first labels stand for one, as many as phase 2 keeps of them (or, where that
    was not asked, as both phases in one answer keep).

    Args:
        tables: of the dataset; the first sample of each trace is used.
        variants: which must be there; the documents are those that have them all.
    """
    known = ~pl.col("is_filtered") & (pl.col("relevance") > 0)
    targets = tables.relevance.filter(known).select("document_id", "label_id", is_target=pl.lit(True))
    chosen = common_traces(tables.traces, targets, variants)
    pairs = tables.relevance.filter("is_filtered").select("document_id", "label_id")
    listed, answered = (_labels(part, chosen, pairs, targets) for part in (tables.shortlist, tables.answers))
    answered = answered.filter(pl.col("variant") != LIST_ALONE)
    donor = ON_OWN if ON_OWN in variants else WHOLE
    if LIST_ALONE in variants and donor in variants:
        answered = pl.concat([answered, _first_labels(listed, answered, donor)])
    counts = targets.group_by("document_id").agg(target_count=pl.len())
    documents = chosen.select("document_id").unique().sort("document_id").join(counts, on="document_id", maintain_order="left")
    values: dict[tuple[str, str], Values] = {}
    for variant in variants if len(documents) else ():
        if variant in (WHOLE, LIST_ALONE):
            precision, recall, _ = _scores(listed.filter(variant=variant), documents)
            values |= {(variant, SHORTLIST_RECALL): recall, (variant, SHORTLIST_PRECISION): precision}
        if variant != LIST_ALONE or donor in variants:
            found = _scores(answered.filter(variant=variant), documents)
            names = (ANSWER_PRECISION, ANSWER_RECALL, ANSWER_F1)
            values |= {(variant, name): part for name, part in zip(names, found, strict=True)}
    return VariantScores(len(documents), values)


def common_traces(traces: pl.DataFrame, targets: pl.DataFrame, variants: Sequence[str]) -> pl.DataFrame:
    """`trace_id`, `document_id` and `variant` of the test documents that have a target and a trace in every variant."""
    first = traces.filter(
        (pl.col("split") == "test") & (pl.col("sample_index") == 0) & pl.col("variant").is_in(list(variants))
    ).sort("trace_id")
    single = first.unique(["document_id", "variant"], keep="first", maintain_order=True)
    scored = single.join(targets, on="document_id", how="semi", maintain_order="left")
    whole = scored.filter(pl.len().over("document_id") == len(variants))
    by_variant = dict(scored["variant"].value_counts(sort=True).iter_rows())
    counts = ", ".join(f"{variant} {by_variant.get(variant, 0)}" for variant in variants)
    logger.info("test documents with a target: %d have a usable trace of all of: %s", whole["document_id"].n_unique(), counts)
    return whole.select("trace_id", "document_id", "variant")


def _labels(lists: pl.DataFrame, chosen: pl.DataFrame, filtered: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """`document_id`, `variant`, `label_id`, `rank`, `is_target` of the distinct labels of the chosen traces."""
    named = lists.select("trace_id", "rank", "label_id").drop_nulls("label_id").join(chosen, on="trace_id")
    kept = named.join(filtered, on=["document_id", "label_id"], how="anti")
    once = kept.sort("trace_id", "rank").unique(["trace_id", "label_id"], keep="first", maintain_order=True)
    marked = once.join(targets, on=["document_id", "label_id"], how="left", maintain_order="left")
    return marked.select("document_id", "variant", "label_id", "rank", pl.col("is_target").fill_null(value=False))


def _first_labels(listed: pl.DataFrame, answered: pl.DataFrame, donor: str) -> pl.DataFrame:
    """The first labels of phase 1's list, as many as the donor's answer has."""
    counts = answered.filter(variant=donor).group_by("document_id").agg(count=pl.len())
    own = listed.filter(variant=LIST_ALONE).sort("document_id", "rank")
    numbered = own.with_columns(place=pl.int_range(pl.len()).over("document_id")).join(counts, on="document_id")
    return numbered.filter(pl.col("place") < pl.col("count")).select(listed.columns)


def _scores(labels: pl.DataFrame, documents: pl.DataFrame) -> tuple[Values, Values, Values]:
    """Precision, recall and F1 of one list a document; F1 is 2 hits / (labels + targets)."""
    found = labels.group_by("document_id").agg(count=pl.len(), hits=pl.col("is_target").sum())
    rows = documents.join(found, on="document_id", how="left", maintain_order="left").fill_null(0)
    count, hits, targets = (rows[name].to_numpy().astype(np.float64) for name in ("count", "hits", "target_count"))
    return hits / np.maximum(count, 1), hits / targets, 2 * hits / (count + targets)


def mean_differences(scores: VariantScores, resample_count: int, seed: int) -> dict[Difference, Mean]:
    """Means of the paired differences with their intervals."""
    found = scores.differences
    return dict(zip(found, mean_intervals(list(found.values()), resample_count, seed), strict=True))


def metric_rows(scores: VariantScores, system: str, resample_count: int, seed: int) -> pl.DataFrame:
    """Rows of `out_metrics` (all but the run's own columns); a variant is the system `<system>/<variant>`."""
    means = mean_intervals(list(scores.values.values()), resample_count, seed)
    rows = [
        {"system": f"{system}/{variant}", "metric": metric, "value": mean.value, "ci_low": mean.low, "ci_high": mean.high}
        for (variant, metric), mean in zip(scores.values, means, strict=True)
    ]
    empty = OUT_METRICS.empty().drop("run_id", "dataset", "split")
    constants = {"k": 0, "segment": "all", "document_count": scores.document_count, "seed_count": 1, "seed_sd": None}
    return pl.DataFrame([row | constants for row in rows], schema=empty.schema)


def contrast_rows(differences: dict[Difference, Mean], system: str) -> pl.DataFrame:
    """Rows of `out_contrasts` (all but the run's own columns), system and baseline named as in `metric_rows`."""
    rows = [
        {
            "system": f"{system}/{one}", "baseline": f"{system}/{other}", "metric": metric, "k": 0, "segment": "all",
            "difference": mean.value, "ci_low": mean.low, "ci_high": mean.high, "p_value": mean.p_value,
            "document_count": mean.document_count, "seed_count": 1,
        }
        for (one, other, metric), mean in differences.items()
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=OUT_CONTRASTS.empty().drop("run_id", "dataset").schema)
