"""What every stage flow shares: a run around it, and reuse, checks and publication around its task."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schemas.errors import CheckFailedError
from schemas.refs import RunRef, StageInputs, StageOutput, StageResult
from tasks.checks.task import check_tables, write_quality_pages
from tasks.runs.task import (
    checks_files,
    close_run,
    known_tables,
    open_run,
    publish_stage,
    resume_run,
    reuse_stage,
    stage_fingerprint,
    stage_inputs,
)


@contextmanager
def stage_run(
    command: str,
    name: str,
    root: str,
    config: str | None,
    set: list[str] | None,
    run_id: str | None,
    path: str | None = None,
) -> Iterator[RunRef]:
    """A run of one command, or the part of a parent's run that `run_id` names; its record says how it ended.

    Raises:
        ConfigError: the dataset name or a setting is wrong.
    """
    if run_id is not None:
        yield resume_run(root, run_id)
        return
    run = open_run(command, name, root, config, set or [], path)
    try:
        yield run
    except CheckFailedError as exc:
        write_quality_pages(run, checks_files(run))
        close_run(run, "check_failed", str(exc))
        raise
    except BaseException as exc:
        close_run(run, "failed", f"{type(exc).__name__}: {exc}")
        raise
    close_run(run, "done")


def run_stage(run: RunRef, stage: str, work: Callable[[StageInputs], StageResult], source_hash: str = "") -> StageOutput:
    """Take an earlier result made from the same inputs, or do the work, check its tables and publish them.

    Raises:
        MissingTableError: an earlier stage was not run.
        CheckFailedError: a check stopped the tables; nothing was published.
    """
    inputs = stage_inputs(run, stage)
    made_from = stage_fingerprint(run, stage, inputs, source_hash)
    reused = reuse_stage(run, stage, made_from)
    if reused is not None:
        return reused
    started = time.monotonic()
    result = work(inputs)
    check_tables(run, stage, result.tables, known_tables(run, inputs))
    return publish_stage(run, stage, inputs, made_from, result, started)
