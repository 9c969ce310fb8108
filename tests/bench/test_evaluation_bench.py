"""A tenth of the design's budget (1M documents x top 100, all metrics, 60 s); `-s` shows the figures.

Baseline on 2 shared x86-64 cores at load 2.5, Python 3.11, polars 2.1: ranking and matching 4.8 s, metrics and intervals 5.1 s,
peak 538 MB; with DOCUMENTS = 1_000_000: 30.0 s, 32.7 s, 2,640 MB. pyxclib takes 6.8 s on the 100,000 documents for P, R, nDCG,
PSP and PSnDCG, without filter, coverage, segments and intervals.
"""

import resource
import sys
import time

import numpy as np
import polars as pl
import pytest

from schemas.config import EvaluateConfig
from tasks.evaluation.leaderboard import score_systems
from tasks.evaluation.metrics import PAIR, find_hits
from tasks.evaluation.systems import rank_candidates

DOCUMENTS = 100_000
PART = 25_000
TOP = 100
LABELS = 500_000
TARGETS = 5


def document_ids(first: int, each: int) -> pl.Series:
    numbers = pl.Series(np.repeat(np.arange(first, first + PART), each))
    return (pl.lit("doc") + numbers.cast(pl.String).str.zfill(8)).alias("document_id").pipe(lambda e: pl.select(e).to_series())


def draw_part(first: int, generator: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Candidates and targets of `PART` documents; about half of the targets are among the candidates."""
    labels = generator.integers(0, LABELS, (PART, TOP), dtype=np.int32)
    targets = generator.integers(0, LABELS, (PART, TARGETS), dtype=np.int32)
    targets[:, ::2] = labels[:, :TARGETS:2]
    scores = generator.random((PART, TOP))
    candidates = pl.DataFrame({"document_id": document_ids(first, TOP), "label_id": labels.ravel(), "score": scores.ravel()})
    known = pl.DataFrame({"document_id": document_ids(first, TARGETS), "label_id": targets.ravel()}).unique(PAIR)
    return candidates.with_columns(system=pl.lit("bench"), seed=pl.lit(0, pl.Int32)), known


def describe(targets: pl.DataFrame, generator: np.random.Generator) -> pl.DataFrame:
    segments = np.array(["head", "torso", "tail", "unseen"])[generator.integers(0, 4, LABELS)]
    labels = pl.DataFrame({"label_id": np.arange(LABELS, dtype=np.int32), "segment": segments})
    return targets.join(labels.with_columns(inverse_propensity=pl.Series(1 + generator.random(LABELS))), on="label_id")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


@pytest.mark.bench
def test_evaluation_time_and_memory() -> None:
    generator = np.random.default_rng(0)
    rank_s, hits, targets = 0.0, [], []
    for first in range(0, DOCUMENTS, PART):
        candidates, known = draw_part(first, generator)
        filtered = candidates.select(PAIR).gather_every(1000)
        started = time.perf_counter()
        hits.append(find_hits(rank_candidates(candidates, filtered, TOP), known))
        rank_s += time.perf_counter() - started
        targets.append(known)
    described = describe(pl.concat(targets), generator)
    started = time.perf_counter()
    metrics, _ = score_systems(pl.concat(hits), described, {"bench": (0,)}, EvaluateConfig())
    score_s = time.perf_counter() - started
    sys.stdout.write(
        f"\n{DOCUMENTS:,} documents x top {TOP}: rank and match {rank_s:.1f} s, metrics with 1,000 resamples on 5 segments "
        f"{score_s:.1f} s, peak {peak_mb():.0f} MB\n"
    )
    assert len(metrics) == 7 * 5 * 5
    assert rank_s + score_s < 60
