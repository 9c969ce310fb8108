"""All metrics of all systems on the test split, with paired intervals."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import RunRef, StageInputs, StageOutput, StageResult
from tasks.evaluation.task import evaluate_systems
from tasks.students.task import predict_students


@flow(name="evaluate")
def evaluate(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish `core_predictions`, `out_metrics` and `out_contrasts`."""
    with stage_run("evaluate", name, root, config, set, run_id) as run:
        return run_stage(run, "evaluate", lambda inputs: predict_and_score(run, inputs))


def predict_and_score(run: RunRef, inputs: StageInputs) -> StageResult:
    """Students' predictions first, then every system's metrics."""
    settings = run.config
    predictions = predict_students(run, inputs, settings.evaluate.prediction_count, settings.embed)
    return evaluate_systems(run, inputs, settings.evaluate, settings.embed, predictions)
