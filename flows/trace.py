"""Ask the teacher about every document."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.runs.task import hash_knowledge
from tasks.traces.task import generate_traces


@flow(name="trace")
def trace(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish `raw_traces`; what was answered before is not asked again."""
    with stage_run("trace", name, root, config, set, run_id) as run:
        teacher, embed = run.config.teacher, run.config.embed
        return run_stage(run, "trace", lambda inputs: generate_traces(run, inputs, teacher, embed), hash_knowledge(run))
