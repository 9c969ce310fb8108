"""The whole run: the stage flows in order, under one run id."""

from prefect import flow

from flows.characterize import characterize
from flows.decoder import decoder
from flows.distill import distill
from flows.evaluate import evaluate
from flows.heads import heads
from flows.index import index
from flows.ingest import ingest
from flows.parse import parse
from flows.report import report
from flows.stage import stage_run
from flows.trace import trace
from tasks.traces.task import check_teacher

SAMPLE = "debian-seealso-small"


@flow(name="pipeline")
def pipeline(
    name: str = SAMPLE,
    path: str | None = None,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
) -> dict[str, str]:
    """Everything from files to leaderboard; a stage whose inputs did not change is taken from an earlier run."""
    with stage_run("run", name, root, config, set, None, path) as run:
        check_teacher(run.config.teacher)
        ingest(name, path, root, run_id=run.run_id)
        index(name, root, run_id=run.run_id)
        trace(name, root, run_id=run.run_id)
        parse(name, root, run_id=run.run_id)
        characterize(name, root, run_id=run.run_id)
        if run.config.heads.model == "decoder":
            decoder(name, root, run_id=run.run_id)
        if run.config.heads.model is not None:
            heads(name, root, run_id=run.run_id)
        distill(name, root, run_id=run.run_id)
        evaluate(name, root, run_id=run.run_id)
        page = report(name, root, run_id=run.run_id)
        return {"run_id": run.run_id, "report": page}
