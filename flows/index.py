"""Embed the labels, build or update the label index and measure its recall."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.labels.task import hash_embedder, index_labels


@flow(name="index")
def index(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
    target_recall: float | None = None,
) -> StageOutput:
    """Publish the label index, if its recall reaches the floor.

    Args:
        name: the dataset.
        root: the data root.
        config: settings file.
        set: single settings.
        run_id: the parent run, if this is a part of one; its settings hold.
        target_recall: recall@100 the cheapest form, degree and expansion are sought for; the setting `index.target_recall`.
    """
    target = [] if target_recall is None else [f"index.target_recall={target_recall}"]
    with stage_run("index", name, root, config, [*(set or []), *target], run_id) as run:
        work = hash_embedder(run)
        return run_stage(run, "index", lambda inputs: index_labels(run, inputs, run.config.index, run.config.embed), work)
