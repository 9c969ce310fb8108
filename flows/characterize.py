"""The two phases in the text: by position, phase by phase, and as verdicts."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.phases.task import characterize_text


@flow(name="characterize")
def characterize(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish `core_trajectories`, `core_near_misses`, metrics of the variants and verdicts on the two phases."""
    with stage_run("characterize", name, root, config, set, run_id) as run:
        return run_stage(
            run, "characterize", lambda inputs: characterize_text(run, inputs, run.config.characterize, run.config.embed)
        )
