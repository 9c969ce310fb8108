"""What was measured, as rows of the stage's tables (all but the run's own columns)."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from schemas.tables import CORE_NEAR_MISSES, CORE_TRAJECTORIES, OUT_VERDICTS
from tasks.phases.claims import Asked, Verdict, complementary, confusion_late, focus_early, isolated, refinement_helps
from tasks.phases.curves import TraceMeasures
from tasks.phases.variants import (
    WHOLE,
    TraceLists,
    asked_variants,
    contrast_rows,
    mean_differences,
    metric_rows,
    score_variants,
)


@dataclass(frozen=True)
class Findings:
    """Rows of `out_metrics`, `out_contrasts` and `out_verdicts`."""

    metrics: pl.DataFrame
    contrasts: pl.DataFrame
    verdicts: pl.DataFrame


def judge_phases(measured: Sequence[TraceMeasures], tables: TraceLists, system: str, asked: Asked) -> Findings:
    """The variants' metrics and contrasts, and a verdict on every claim.

    Args:
        measured: the sampled traces, along their way.
        tables: all traces; variants are compared on the documents that have them all, answers and shortlists of both phases in
            one answer on every document.
        system: whose traces they are; variants are named after it.
        asked: how intervals are drawn and judged.
    """
    whole = score_variants(tables, (WHOLE,))
    apart = score_variants(tables, asked_variants(tables.traces))
    differences = mean_differences(apart, asked.resample_count, asked.seed)
    verdicts = [
        focus_early([m.focus_by_phase for m in measured if m.focus_by_phase is not None], asked),
        confusion_late([m.confusion_by_half for m in measured if m.confusion_by_half is not None], asked),
        refinement_helps(whole, asked),
        isolated(apart, differences, asked),
        complementary(apart, differences, asked),
    ]
    shown = apart if apart.document_count else whole
    metrics = metric_rows(shown, system, asked.resample_count, asked.seed)
    return Findings(metrics, contrast_rows(differences, system), verdict_rows(verdicts, system))


def verdict_rows(verdicts: Sequence[Verdict], system: str) -> pl.DataFrame:
    """Rows of `out_verdicts`; what was not measured has no numbers and no documents."""
    rows = []
    for verdict in verdicts:
        mean = verdict.mean
        numbers = (None, None, None, 0) if mean is None else (mean.value, mean.low, mean.high, mean.document_count)
        rows.append((system, verdict.claim, verdict.standing, verdict.sentence, *numbers))
    return pl.DataFrame(rows, schema=OUT_VERDICTS.empty().drop("run_id", "dataset").schema, orient="row")


def trajectory_rows(system: str, documents: Sequence[str], measured: Sequence[TraceMeasures]) -> pl.DataFrame:
    """Rows of `core_trajectories`."""
    rows = [(system, document, *row) for document, found in zip(documents, measured, strict=True) for row in found.rows]
    return pl.DataFrame(rows, schema=CORE_TRAJECTORIES.empty().drop("dataset").schema, orient="row")


def near_miss_rows(documents: Sequence[str], measured: Sequence[TraceMeasures]) -> pl.DataFrame:
    """Rows of `core_near_misses`."""
    rows = [
        (document, rank, label, score)
        for document, found in zip(documents, measured, strict=True)
        for rank, (label, score) in enumerate(zip(found.near.label_ids.tolist(), found.near.scores.tolist(), strict=True), 1)
    ]
    return pl.DataFrame(rows, schema=CORE_NEAR_MISSES.empty().drop("dataset").schema, orient="row")
