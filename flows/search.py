"""Choose settings of encoder students by random search."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.students.search.task import search_settings


@flow(name="search")
def search(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish `core_trials` and the chosen settings of every method."""
    with stage_run("search", name, root, config, set, run_id) as run:
        settings = run.config
        return run_stage(
            run, "search", lambda inputs: search_settings(run, inputs, settings.distill, settings.embed, settings.search)
        )
