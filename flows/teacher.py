"""What the stand-in needs to serve a dataset outside a run of `trace`."""

from flows.stage import stage_run
from tasks.runs.task import stage_inputs
from tasks.traces.stand_in.task import write_stand_in_brief


def prepare_brief(name: str, root: str, config: str | None, set: list[str] | None) -> str:
    """Write the stand-in's brief for an indexed dataset; the folder it stands in.

    Raises:
        MissingTableError: the dataset was not ingested or indexed.
    """
    with stage_run("teacher", name, root, config, set, None) as run:
        _, path = write_stand_in_brief(run, stage_inputs(run, "trace"), run.config.teacher, run.config.embed)
        return str(path)
