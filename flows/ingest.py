"""Read a dataset into documents, labels and relevance."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.datasets.task import ingest_dataset
from tasks.runs.task import hash_source


@flow(name="ingest")
def ingest(
    name: str,
    path: str | None = None,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish the dataset's `core_documents`, `core_labels` and `core_relevance`."""
    with stage_run("ingest", name, root, config, set, run_id, path) as run:
        source_hash = hash_source(run.config.ingest.path)
        return run_stage(run, "ingest", lambda _: ingest_dataset(run, run.config.ingest), source_hash)
