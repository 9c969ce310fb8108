"""Ask the teacher about every document, or say what that would take, or write and read batch files instead."""

from typing import Literal

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import RetryRules, StageOutput
from tasks.runs.task import hash_knowledge, stage_inputs
from tasks.traces.task import estimate_traces, generate_traces, read_batches, write_batches

Lines = list[tuple[str, str]]
"""A name and what is known, for people to read."""


@flow(name="trace")
def trace(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
    retry_failed: bool = False,
    reason: list[str] | None = None,
) -> StageOutput:
    """Publish `raw_traces`; what was answered before is not asked again.

    Args:
        name: the dataset.
        root: the data root.
        config: settings file.
        set: single settings.
        run_id: the parent run, if this is a part of one.
        retry_failed: send only requests that failed, none that were never sent.
        reason: of the failed ones send only those with these error kinds; also `length` and `connection_cut`, for cut answers.
    """
    retry = RetryRules(is_only_failed=retry_failed, reasons=tuple(reason or ()))
    with stage_run("trace", name, root, config, set, run_id) as run:
        teacher, embed = run.config.teacher, run.config.embed
        work = hash_knowledge(run) + (retry.model_dump_json() if retry != RetryRules() else "")
        return run_stage(run, "trace", lambda inputs: generate_traces(run, inputs, teacher, embed, retry), work)


@flow(name="trace-estimate")
def trace_estimate(name: str, root: str = "data", config: str | None = None, set: list[str] | None = None) -> Lines:
    """Requests, tokens, money and time of what is left to ask; asks nothing."""
    with stage_run("trace --estimate", name, root, config, set, None) as run:
        return estimate_traces(run, stage_inputs(run, "trace"), run.config.teacher, run.config.embed)


@flow(name="trace-batch")
def trace_batch(
    name: str,
    action: Literal["write", "read"],
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    folder: str | None = None,
) -> Lines:
    """Write what is not answered yet as OpenAI batch files, or read the results of such files into the journal."""
    work = write_batches if action == "write" else read_batches
    with stage_run(f"trace --batch {action}", name, root, config, set, None) as run:
        return work(run, stage_inputs(run, "trace"), run.config.teacher, run.config.embed, folder)
