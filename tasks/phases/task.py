"""Traces -> what they do along the way, N(x), how good each variant is, and verdicts on the two phases."""

import logging
import time
from collections.abc import Iterator

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import CharacterizeConfig, EmbedConfig
from schemas.refs import RunRef, StageCost, StageInputs, StageResult
from schemas.tables import CORE_NEAR_MISSES, CORE_TRAJECTORIES, OUT_CONTRASTS, OUT_METRICS, OUT_VERDICTS
from tasks.labels.progress import log_progress
from tasks.labels.task import open_embedder, open_label_index
from tasks.phases.claims import Asked
from tasks.phases.curves import TraceMeasures, measure_trace
from tasks.phases.findings import judge_phases, near_miss_rows, trajectory_rows
from tasks.phases.sampling import DocumentTrace, document_traces, sample_traces
from tasks.phases.trajectories import readable_step
from tasks.phases.variants import TraceLists
from warehouse.parquet import read_table, write_table

logger = logging.getLogger(__name__)

SYSTEM = "teacher"


@task(cache_policy=NO_CACHE)
def characterize_text(run: RunRef, inputs: StageInputs, characterize: CharacterizeConfig, embed: EmbedConfig) -> StageResult:
    """Whether the two phases are there in the text of the teacher's traces.

    Writes `core_trajectories` (Focus, Confusion with its floor, shortlist recall, inflation, refinement gain by position) and
    `core_near_misses` of a sample of test documents, `out_metrics` and `out_contrasts` of the variants that were asked for, and
    `out_verdicts`. Where no test document has a target there is no metric, and `out_metrics` is not written.

    Raises:
        EmptyTargetError: no test document has a usable trace.
    """
    started = time.monotonic()
    tables = {name: read_table(inputs.tables[name]) for name in inputs.tables}
    chosen = sample_traces(tables["core_traces"], characterize.max_documents, characterize.seed)
    traces = list(
        document_traces(
            chosen,
            tables["core_documents"],
            tables["core_relevance"],
            tables["core_steps"],
            tables["core_shortlist"],
            tables["core_answers"],
        )
    )
    measured = list(measure_traces(run, inputs, traces, characterize, embed))
    names = ("core_traces", "core_shortlist", "core_answers", "core_relevance")
    teacher = ", ".join(sorted(chosen["teacher"].unique()))
    asked = Asked(teacher, characterize.bootstrap_count, characterize.seed, characterize.equivalence_frac)
    found = judge_phases(measured, TraceLists(*(tables[name] for name in names)), SYSTEM, asked)
    for verdict in found.verdicts.iter_rows(named=True):
        logger.info("%s %s: %s", verdict["claim"], verdict["standing"], verdict["sentence_text"])
    documents = [trace.document_id for trace in traces]
    own = {"run_id": pl.lit(run.run_id), "dataset": pl.lit(run.dataset), "split": pl.lit("test")}
    frames = (
        (CORE_TRAJECTORIES, trajectory_rows(SYSTEM, documents, measured)),
        (CORE_NEAR_MISSES, near_miss_rows(documents, measured)),
        *([(OUT_METRICS, found.metrics)] if found.metrics.height else []),
        (OUT_CONTRASTS, found.contrasts),
        (OUT_VERDICTS, found.verdicts),
    )
    steps = sum(trace.steps.height for trace in traces)
    without = sum(not trace.targets for trace in traces)
    seconds = time.monotonic() - started
    logger.info("characterize: %d traces, %d steps, %d without targets, %.1f s", len(traces), steps, without, seconds)
    written = tuple(write_table(run, "characterize", table, table.conform(frame.with_columns(**own))) for table, frame in frames)
    return StageResult(tables=written, cost=StageCost(rows_in_count=steps))


def measure_traces(
    run: RunRef, inputs: StageInputs, traces: list[DocumentTrace], characterize: CharacterizeConfig, embed: EmbedConfig
) -> Iterator[TraceMeasures]:
    """Embed documents and steps, and measure every trace along its way."""
    index = open_label_index(run, inputs.artifacts["label_index"], inputs.tables["core_labels"])
    documents = open_embedder(run, embed, embed.document_tokens).embed([trace.document_text for trace in traces])
    texts = [readable_step(text) for trace in traces for text in trace.steps["step_text"].to_list()]
    vectors = open_embedder(run, embed, embed.label_tokens).embed(texts, log_progress("steps embedded"))
    per_trace = np.split(vectors, np.cumsum([trace.steps.height for trace in traces])[:-1])
    for trace, steps, document in zip(traces, per_trace, documents, strict=True):
        yield measure_trace(trace, steps, document, index, characterize)
