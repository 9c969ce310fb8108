"""Train students by method and seed."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.students.task import train_students


@flow(name="distill")
def distill(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish the student folders and `core_train_steps`."""
    with stage_run("distill", name, root, config, set, run_id) as run:
        return run_stage(run, "distill", lambda inputs: train_students(run, inputs, run.config.distill, run.config.embed))
