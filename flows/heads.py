"""Attention heads of a decoder: scores of the two phases, and causal tests with controls."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.heads.task import measure_heads
from tasks.open_models.task import locate_model


@flow(name="heads")
def heads(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish scores, patching effects, dynamics, insets and verdicts of one model."""
    with stage_run("heads", name, root, config, set, run_id) as run:
        model = locate_model(run)
        return run_stage(
            run,
            "heads",
            lambda inputs: measure_heads(run, inputs, model, run.config.heads, run.config.embed),
            source_hash=model.content_hash,
        )
