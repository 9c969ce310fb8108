"""Teacher text to shortlists, steps and answers."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.parsing.task import parse_traces


@flow(name="parse")
def parse(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish `core_traces`, `core_shortlist`, `core_steps`, `core_answers` and `core_rejects`."""
    with stage_run("parse", name, root, config, set, run_id) as run:
        return run_stage(run, "parse", lambda inputs: parse_traces(run, inputs, run.config.parse, run.config.embed))
