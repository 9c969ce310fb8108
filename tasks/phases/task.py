"""`core_traces` and their steps -> `core_trajectories`, for a sample of test documents."""

import logging
import time

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import CharacterizeConfig, EmbedConfig
from schemas.refs import RunRef, StageCost, StageInputs, StageResult
from schemas.tables import CORE_TRAJECTORIES
from tasks.labels.progress import log_progress
from tasks.labels.task import open_embedder, open_label_index
from tasks.phases.curves import trace_rows
from tasks.phases.sampling import document_traces, sample_traces
from tasks.phases.trajectories import readable_step
from warehouse.parquet import read_table, write_table

logger = logging.getLogger(__name__)

SYSTEM = "teacher"


@task(cache_policy=NO_CACHE)
def characterize_text(run: RunRef, inputs: StageInputs, characterize: CharacterizeConfig, embed: EmbedConfig) -> StageResult:
    """Focus, Confusion with its floor, shortlist recall and inflation along the teacher's traces.

    Raises:
        EmptyTargetError: no test document has a usable trace.
    """
    started = time.monotonic()
    tables = {name: read_table(inputs.tables[name]) for name in inputs.tables}
    chosen = sample_traces(tables["core_traces"], characterize.max_documents, characterize.seed)
    found = document_traces(
        chosen,
        tables["core_documents"],
        tables["core_relevance"],
        tables["core_steps"],
        tables["core_shortlist"],
        tables["core_answers"],
    )
    traces = list(found)
    index = open_label_index(run, inputs.artifacts["label_index"], inputs.tables["core_labels"])
    documents = open_embedder(run, embed, embed.document_tokens).embed([trace.document_text for trace in traces])
    texts = [readable_step(text) for trace in traces for text in trace.steps["step_text"].to_list()]
    vectors = open_embedder(run, embed, embed.label_tokens).embed(texts, log_progress("steps embedded"))
    per_trace = np.split(vectors, np.cumsum([trace.steps.height for trace in traces])[:-1])
    rows = [
        (run.dataset, SYSTEM, trace.document_id, *row)
        for trace, steps, document in zip(traces, per_trace, documents, strict=True)
        for row in trace_rows(trace, steps, document, index, characterize)
    ]
    frame = CORE_TRAJECTORIES.conform(pl.DataFrame(rows, schema=CORE_TRAJECTORIES.schema, orient="row"))
    without = sum(not trace.targets for trace in traces)
    seconds = time.monotonic() - started
    logger.info("characterize: %d traces, %d steps, %d without targets, %.1f s", len(traces), len(texts), without, seconds)
    table = write_table(run, "characterize", CORE_TRAJECTORIES, frame)
    return StageResult(tables=(table,), cost=StageCost(rows_in_count=len(texts)))
