"""How decoder students reason: what they write of test documents, and what it is worth."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.fidelity.task import measure_fidelity
from tasks.open_models.task import locate_model


@flow(name="fidelity")
def fidelity(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish traces, predictions, trajectories and fidelity metrics of decoder students."""
    with stage_run("fidelity", name, root, config, set, run_id) as run:
        model, settings = locate_model(run), run.config
        return run_stage(
            run,
            "fidelity",
            lambda inputs: measure_fidelity(run, inputs, model, settings.heads, settings.fidelity, settings.embed),
            source_hash=model.content_hash,
        )
