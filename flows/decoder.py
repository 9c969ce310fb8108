"""Train a small decoder on the traces: the offline stand-in for an open-weights teacher."""

from prefect import flow

from flows.stage import run_stage, stage_run
from schemas.refs import StageOutput
from tasks.decoders.task import train_decoder


@flow(name="decoder")
def decoder(
    name: str,
    root: str = "data",
    config: str | None = None,
    set: list[str] | None = None,
    run_id: str | None = None,
) -> StageOutput:
    """Publish the folder of the decoder and `core_train_steps`."""
    with stage_run("decoder", name, root, config, set, run_id) as run:
        return run_stage(run, "decoder", lambda inputs: train_decoder(run, inputs, run.config.decoder, run.config.embed))
