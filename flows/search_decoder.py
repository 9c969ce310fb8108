"""Choose settings of decoder students by random search."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.decoder_students.classroom.task import hash_sources
from tasks.decoder_students.search.task import search_decoder_settings
from tasks.open_models.task import locate_model


@flow(name="search-decoder")
def search_decoder(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish `core_trials` and the chosen settings of every method."""
    with stage_run("search-decoder", name, root, config, set, run_id) as run:
        model, settings = locate_model(run), run.config
        return run_stage(
            run,
            "search-decoder",
            lambda inputs: search_decoder_settings(
                run, inputs, model, settings.decoder_students, settings.heads, settings.embed, settings.search
            ),
            source_hash=hash_sources(run, model),
        )
