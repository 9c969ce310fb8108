"""The commands of stages: each runs one flow and prints what it published. Flows are imported when their command runs."""

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Literal

import typer

from flows.terminal import Config, Name, Root, Set, guarded, show_leaderboard, show_lines, show_output, start
from schemas.errors import ConfigError

Command = Callable[..., None]
MODEL_HELP = "`decoder`: the one trained here on the traces; or a local Hugging Face folder. Default: setting heads.model."
Model = Annotated[str | None, typer.Option("--model", help=MODEL_HELP)]


def stage_command(stage: str, summary: str) -> Command:
    """The command of a stage whose flow, of the stage's name, takes a dataset name and settings."""
    flow = stage.replace("-", "_")

    def command(name: Name, root: Root = "data", config: Config = None, set: Set = None) -> None:
        start(root)
        guarded(lambda: show_output(getattr(import_module(f"flows.{flow}"), flow)(name, root, config, set)))

    command.__doc__ = summary
    return command


def ingest(
    name: Name,
    path: Annotated[str | None, typer.Argument(help="Folder with trn.json, tst.json, lbl.json (each also .gz).")] = None,
    root: Root = "data",
    config: Config = None,
    set: Set = None,
) -> None:
    """Read a dataset into documents, labels and relevance."""
    start(root)

    def work() -> None:
        from flows.ingest import ingest

        show_output(ingest(name, path, root, config, set))

    guarded(work)


def index(
    name: Name,
    root: Root = "data",
    config: Config = None,
    set: Set = None,
    target_recall: Annotated[
        float | None,
        typer.Option("--target-recall", help="Take the cheapest form, degree and expansion with this recall@100, e.g. 0.97."),
    ] = None,
) -> None:
    """Embed the labels, build or update the label index, measure its recall against exact search."""
    start(root)

    def work() -> None:
        from flows.index import index

        show_output(index(name, root, config, set, target_recall=target_recall))

    guarded(work)


def trace(
    name: Name,
    root: Root = "data",
    config: Config = None,
    set: Set = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Say what asking the rest will take; ask nothing.")] = False,
    batch: Annotated[
        Literal["write", "read"] | None, typer.Option(help="Write OpenAI batch files of what is left, or read their results.")
    ] = None,
    folder: Annotated[
        str | None, typer.Option("--batch-dir", help="Folder of the batch files; default: batches/NAME in the data root.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Send only requests that failed, none that were never sent.")
    ] = False,
    reason: Annotated[
        list[str] | None,
        typer.Option("--reason", help="Of the failed ones, send only those of this error kind; also `length`, `connection_cut`."),
    ] = None,
) -> None:
    """Ask the teacher about every document; what was answered before is not asked again."""
    start(root)

    def work() -> None:
        if estimate and batch:
            raise ConfigError("--estimate and --batch are two things: choose one")
        from flows import trace as flows

        if estimate:
            show_lines(flows.trace_estimate(name, root, config, set))
        elif batch:
            show_lines(flows.trace_batch(name, batch, root, config, set, folder))
        else:
            show_output(flows.trace(name, root, config, set, retry_failed=retry_failed, reason=reason))

    guarded(work)


def characterize(name: Name, root: Root = "data", config: Config = None, set: Set = None, model: Model = None) -> None:
    """The two phases in the text; with `--model` also the heads of a decoder: scores, and patching with controls."""
    start(root)

    def work() -> None:
        from flows.characterize import characterize

        show_output(characterize(name, root, config, set))
        if model is not None:
            measure_heads(name, root, config, set, model)

    guarded(work)


def heads(name: Name, root: Root = "data", config: Config = None, set: Set = None, model: Model = None) -> None:
    """Which attention heads shortlist and which refine: scores, patching with controls; text and heads as verdicts."""
    start(root)
    guarded(lambda: measure_heads(name, root, config, set, model))


def measure_heads(name: str, root: str, config: str | None, settings: list[str] | None, model: str | None) -> None:
    """Measure the heads of a model; the decoder trained here is trained first, or taken if nothing changed."""
    from flows.decoder import decoder
    from flows.heads import heads

    chosen = [*(settings or []), *([f"heads.model={model}"] if model else [])]
    if model == "decoder":
        show_output(decoder(name, root, config, settings))
    show_output(heads(name, root, config, chosen))


def search(name: Name, root: Root = "data", config: Config = None, set: Set = None) -> None:
    """Choose settings of encoder students: as many trials for every method, judged on teacher-labelled train documents."""
    start(root)

    def work() -> None:
        from flows.search import search
        from tasks.students.search.task import list_choices

        output = search(name, root, config, set)
        show_output(output)
        show_lines(list_choices(output))

    guarded(work)


def search_decoder(name: Name, root: Root = "data", config: Config = None, set: Set = None) -> None:
    """Choose settings of decoder students: as many trials for every method, judged on teacher-labelled train documents."""
    start(root)

    def work() -> None:
        from flows.search_decoder import search_decoder
        from tasks.decoder_students.search.task import list_choices

        output = search_decoder(name, root, config, set)
        show_output(output)
        show_lines(list_choices(output))

    guarded(work)


def evaluate(name: Name, root: Root = "data", config: Config = None, set: Set = None) -> None:
    """All metrics of all systems on the test split, with intervals and paired contrasts."""
    start(root)

    def work() -> None:
        from flows.evaluate import evaluate

        evaluate(name, root, config, set)
        show_leaderboard(root, name)

    guarded(work)
