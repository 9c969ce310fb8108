"""Embed the labels, build the label index and measure its recall."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.labels.task import index_labels


@flow(name="index")
def index(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish the label index, if its recall reaches the floor."""
    with stage_run("index", name, root, config, set, run_id) as run:
        return run_stage(run, "index", lambda inputs: index_labels(run, inputs, run.config.index, run.config.embed))
