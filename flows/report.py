"""The static report, the data-quality pages, and Prefect's own artifacts."""

from prefect import flow
from prefect.artifacts import create_table_artifact

from flows.stage import stage_run
from schemas.refs import RunRef
from tasks.checks.task import write_quality_pages
from tasks.reports.task import write_report
from tasks.runs.task import all_published, check_summary, checks_files, leaderboard, load_warehouse, with_costs


@flow(name="report")
def report(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> str:
    """Write the dataset's pages; returns the path of the report."""
    with stage_run("report", name, root, config, set, run_id) as run:
        load_warehouse(run)
        write_quality_pages(run, checks_files(run))
        path = write_report(run, with_costs(run, all_published(run)), run.config.report)
        publish_artifacts(run)
        return path


def publish_artifacts(run: RunRef) -> None:
    """Prefect artifacts of a dataset: its leaderboard and the summary of its checks."""
    key = run.dataset.lower().replace("_", "-").replace(".", "-")
    header, lines = leaderboard(run.root, run.dataset)
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    create_table_artifact(rows, key=f"leaderboard-{key}", description="Test split, percent, 95% intervals")
    summary = check_summary(run.root, run.dataset)
    create_table_artifact(summary, key=f"checks-{key}", description="Expectations by table and outcome, all runs")
