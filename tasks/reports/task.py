"""The report as a task: read what is published, render, write one file."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import ReportConfig
from schemas.refs import RunRef, StageInputs
from schemas.selections import whole_traces
from tasks.reports.frames import Facts, Frames
from tasks.reports.page import render_page
from tasks.reports.sample import TraceFrames, sample_traces
from warehouse.atomic import write_bytes
from warehouse.layout import report_dir
from warehouse.parquet import read_table, scan_table

logger = logging.getLogger(__name__)

STAND_IN = "stand-in"
SAMPLE_TABLES = (
    "raw_traces", "core_steps", "core_shortlist", "core_answers", "core_documents", "core_labels", "core_relevance",
)  # fmt: skip


@task(cache_policy=NO_CACHE)
def write_report(run: RunRef, inputs: StageInputs, report: ReportConfig) -> str:
    """Everything published of the dataset -> `index.html`; what is missing is named on the page. Returns its path.

    Raises:
        StorageError: a published table is gone or damaged, or the page cannot be written.
    """
    frames = read_frames(inputs, report.sample_traces)
    path = report_dir(run.root_path, run.dataset) / "index.html"
    page = render_page(read_facts(run, inputs, frames), frames)
    write_bytes(path, page.encode())
    logger.info("report: %s, %d bytes", path, len(page))
    return str(path)


def read_frames(inputs: StageInputs, sample_count: int) -> Frames:
    """The tables the page shows; texts are read for the sampled traces only."""
    every = _read(inputs, "core_traces")
    traces = None if every is None else whole_traces(every)
    return Frames(
        documents=_read(inputs, "core_documents", ("document_id", "split")),
        labels=_read(inputs, "core_labels", ("label_id",)),
        traces=traces,
        ingest_rejects=_read(inputs, "ingest:core_rejects"),
        parse_rejects=_read(inputs, "parse:core_rejects"),
        trajectories=_read(inputs, "core_trajectories"),
        train_steps=_read(inputs, "core_train_steps"),
        decoder_steps=_read(inputs, "decoder:core_train_steps"),
        metrics=_read(inputs, "out_metrics"),
        index_metrics=_read(inputs, "index:out_metrics"),
        contrasts=_read(inputs, "out_contrasts"),
        verdicts=_read(inputs, "out_verdicts"),
        phase_metrics=_read(inputs, "characterize:out_metrics"),
        phase_contrasts=_read(inputs, "characterize:out_contrasts"),
        head_scores=_read(inputs, "core_head_scores"),
        head_profiles=_read(inputs, "core_head_profiles"),
        patch_effects=_read(inputs, "core_patch_effects"),
        attention_insets=_read(inputs, "core_attention_insets"),
        head_trajectories=_read(inputs, "heads:core_trajectories"),
        head_verdicts=_read(inputs, "heads:out_verdicts"),
        fidelity_metrics=_read(inputs, "fidelity:out_metrics"),
        fidelity_trajectories=_read(inputs, "fidelity:core_trajectories"),
        costs=_read(inputs, "out_costs"),
        sample=None if traces is None else read_sample(inputs, sample_traces(traces, sample_count)),
    )


def _read(inputs: StageInputs, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame | None:
    ref = inputs.tables.get(name)
    return None if ref is None else read_table(ref, columns)


def read_sample(inputs: StageInputs, traces: pl.DataFrame) -> TraceFrames | None:
    """The rows of the sampled traces in every table; None where one of the tables is missing."""
    if any(name not in inputs.tables for name in SAMPLE_TABLES):
        return None
    rows = {name: scan_table(inputs.tables[name]) for name in SAMPLE_TABLES}
    is_trace, is_document = (pl.col(c).is_in(traces[c].implode()) for c in ("trace_id", "document_id"))
    return TraceFrames(
        traces=traces,
        raw=rows["raw_traces"].filter(is_document & pl.col("request_hash").is_in(traces["request_hash"].implode())).collect(),
        steps=rows["core_steps"].filter(is_trace).collect(),
        shortlist=rows["core_shortlist"].filter(is_trace).collect(),
        answers=rows["core_answers"].filter(is_trace).collect(),
        documents=rows["core_documents"].filter(is_document).collect(),
        labels=rows["core_labels"].collect(),
        relevance=rows["core_relevance"].filter(is_document).collect(),
    )


def read_facts(run: RunRef, inputs: StageInputs, frames: Frames) -> Facts:
    """What the page says about the run; the teacher is the one that answered, not the one that is configured."""
    teacher, endpoint = read_teacher(inputs) or (None, "")
    index = run.config.index
    return Facts(
        dataset=run.dataset,
        run_id=run.run_id,
        written_at=datetime.now(UTC),
        teacher=teacher,
        is_stand_in=endpoint == STAND_IN,
        has_exact_index=frames.labels is not None and len(frames.labels) < index.exact_below_count,
        recall_floors=((10, index.min_recall_at_10), (100, index.min_recall_at_100)),
        baseline=run.config.evaluate.baseline,
    )


def read_teacher(inputs: StageInputs) -> tuple[str, str] | None:
    """Name and endpoint of the teacher that answered; None where nothing was asked yet."""
    ref = inputs.tables.get("raw_traces")
    if ref is None:
        return None
    asked = scan_table(ref).select("teacher", "endpoint").unique().sort("teacher", "endpoint").collect()
    return (", ".join(asked["teacher"].unique(maintain_order=True)), ", ".join(asked["endpoint"])) if len(asked) else None
