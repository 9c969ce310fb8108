"""Train decoder students, which write the trace, on the teacher's traces and on what its heads do."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.decoder_students.classroom.task import hash_sources
from tasks.decoder_students.task import distill_decoder_students
from tasks.open_models.task import locate_model


@flow(name="distill-decoder")
def distill_decoder(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish the folders of the students, `core_train_steps` and `core_head_matches`."""
    with stage_run("distill-decoder", name, root, config, set, run_id) as run:
        model, settings = locate_model(run), run.config
        return run_stage(
            run,
            "distill-decoder",
            lambda inputs: distill_decoder_students(
                run, inputs, model, settings.decoder_students, settings.heads, settings.embed
            ),
            source_hash=hash_sources(run, model),
        )
