"""`ctd`: one thin command a flow. Flows are imported when their command runs, so that `--help` is quick."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from flows.environment import end_quietly, prepare_environment, show_progress
from schemas.errors import CheckFailedError, ConfigError, PipelineError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Teach small models to pick the right labels out of very many the way a reasoning model does: "
    "shortlist, then refine. **ctd run** does everything on a shipped sample, without a key or a GPU.",
)
out = Console(highlight=False, soft_wrap=True)

STAGES, RESULTS, TOOLS = "Stages, in order", "Results", "Tools"
EXIT_FAILED, EXIT_USAGE, EXIT_CHECK = 1, 2, 3
SAMPLE = "debian-seealso-small"
PIPED_WIDTH = 500
LEADERBOARD_WIDTH = 180
"""Characters of the widest leaderboard; a narrower terminal wraps its lines, a cut number would say nothing."""

Name = Annotated[str, typer.Argument(help="Name of the dataset.", show_default=True)]
Root = Annotated[str, typer.Option("--root", envvar="CTD_ROOT", help="Data root: everything is stored below it.")]
Config = Annotated[str | None, typer.Option("--config", help="Settings file (YAML); `ctd config` lists the settings.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="One setting, section.key=value; may be repeated.")]


def guarded(work: Callable[[], Any]) -> Any:
    """What `work` gives; our errors become one message on stderr and an exit code."""
    try:
        return work()
    except PipelineError as exc:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {type(exc).__name__}:", end=" ")
        sys.stderr.write(f"{exc}\n")
        raise typer.Exit(exit_code(exc)) from exc
    except KeyboardInterrupt as exc:
        sys.stderr.write("interrupted; what was published or answered is kept, the same command goes on from there\n")
        raise typer.Exit(130) from exc


def exit_code(error: PipelineError) -> int:
    """2 for bad usage or settings, 3 for a failed check, 1 for a stage that failed."""
    if isinstance(error, ConfigError):
        return EXIT_USAGE
    return EXIT_CHECK if isinstance(error, CheckFailedError) else EXIT_FAILED


def start(root: str) -> None:
    """Prepare this process for a flow: environment first, then progress on stderr; SIGTERM ends it as Ctrl-C does.

    A process that SIGTERM ends at once leaves Prefect's temporary server running, and a run's record open.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    guarded(lambda: prepare_environment(root))
    show_progress()


def show_leaderboard(root: str, name: str) -> None:
    """Print the leaderboard of a dataset."""
    from tasks.runs.task import leaderboard

    header, lines = leaderboard(root, name)
    table = Table(title=f"{name}, test split: percent with 95% intervals", title_justify="left", box=None, pad_edge=False)
    for column in header:
        table.add_column(column, justify="left" if column == "system" else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    Console(highlight=False, width=max(out.width, LEADERBOARD_WIDTH)).print(table)


def show_paths(root: str, name: str, run_id: str) -> None:
    """Print where the results are."""
    from tasks.runs.task import result_paths, resume_run

    for what, path in result_paths(resume_run(root, run_id)).items():
        out.print(f"{what:13} {path}")


@app.command("run", rich_help_panel="Everything")
def run_command(
    name: Annotated[str, typer.Argument(help="Name of the dataset; the default ships with the project.")] = SAMPLE,
    path: Annotated[str | None, typer.Argument(help="Folder of the dataset (LF layout).")] = None,
    root: Root = "data",
    config: Config = None,
    set: Set = None,
) -> None:
    """The whole pipeline; prints the leaderboard and where the report and the warehouse are.

    Without arguments: the shipped sample, the stand-in teacher (a local server, not a language model) and CPU-sized
    students. Run again, it does only what has changed, and never asks the teacher twice.
    """
    start(root)

    def work() -> None:
        from flows.pipeline import pipeline

        done = pipeline(name, path, root, config, set)
        show_leaderboard(root, name)
        show_paths(root, name, done["run_id"])

    guarded(work)


@app.command("ingest", rich_help_panel=STAGES)
def ingest_command(
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


def show_output(output: Any) -> None:
    """Print what a stage published."""
    for ref in output.tables:
        out.print(f"{ref.table:18} {ref.row_count:>9} rows  {ref.path}")
    for ref in output.artifacts:
        out.print(f"{ref.name:18} {'':>14}  {ref.path}")


def stage_command(stage: str, load: Callable[[], Callable[..., Any]], summary: str) -> None:
    """Register the command of a stage flow that takes a dataset name and settings."""

    def command(name: Name, root: Root = "data", config: Config = None, set: Set = None) -> None:
        start(root)
        guarded(lambda: show_output(load()(name, root, config, set)))

    command.__doc__ = summary
    app.command(stage, rich_help_panel=STAGES)(command)


def _load_parse() -> Callable[..., Any]:
    from flows.parse import parse

    return parse


def _load_decoder() -> Callable[..., Any]:
    from flows.decoder import decoder

    return decoder


def _load_fidelity() -> Callable[..., Any]:
    from flows.fidelity import fidelity

    return fidelity


def _load_distill_decoder() -> Callable[..., Any]:
    from flows.distill_decoder import distill_decoder

    return distill_decoder


def _load_distill() -> Callable[..., Any]:
    from flows.distill import distill

    return distill


@app.command("index", rich_help_panel=STAGES)
def index_command(
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


@app.command("trace", rich_help_panel=STAGES)
def trace_command(
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


def show_lines(lines: list[tuple[str, str]]) -> None:
    """Print names and what is known of them."""
    for what, value in lines:
        out.print(f"{what:13} {value}", markup=False)


stage_command("parse", _load_parse, "Traces to shortlists, steps, answers and rejects; mentions linked to labels.")
MODEL_HELP = "`decoder`: the one trained here on the traces; or a local Hugging Face folder. Default: setting heads.model."
Model = Annotated[str | None, typer.Option("--model", help=MODEL_HELP)]


@app.command("characterize", rich_help_panel=STAGES)
def characterize_command(name: Name, root: Root = "data", config: Config = None, set: Set = None, model: Model = None) -> None:
    """The two phases in the text; with `--model` also the heads of a decoder: scores, and patching with controls."""
    start(root)

    def work() -> None:
        from flows.characterize import characterize

        show_output(characterize(name, root, config, set))
        if model is not None:
            measure_heads(name, root, config, set, model)

    guarded(work)


stage_command("decoder", _load_decoder, "Train a small decoder on the traces: an open-weights stand-in for the teacher.")


@app.command("heads", rich_help_panel=STAGES)
def heads_command(name: Name, root: Root = "data", config: Config = None, set: Set = None, model: Model = None) -> None:
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


stage_command("distill", _load_distill, "Train students by method and seed, at equal budget.")
stage_command("distill-decoder", _load_distill_decoder, "Train decoders that write traces, on tokens and on what heads do.")


@app.command("search", rich_help_panel=STAGES)
def search_command(name: Name, root: Root = "data", config: Config = None, set: Set = None) -> None:
    """Choose settings of encoder students: as many trials for every method, judged on teacher-labelled train documents."""
    start(root)

    def work() -> None:
        from flows.search import search
        from tasks.students.search.task import list_choices

        output = search(name, root, config, set)
        show_output(output)
        show_lines(list_choices(output))

    guarded(work)


stage_command("fidelity", _load_fidelity, "How decoder students reason: what they write, and what their rationales are worth.")


@app.command("search-decoder", rich_help_panel=STAGES)
def search_decoder_command(name: Name, root: Root = "data", config: Config = None, set: Set = None) -> None:
    """Choose settings of decoder students: as many trials for every method, judged on teacher-labelled train documents."""
    start(root)

    def work() -> None:
        from flows.search_decoder import search_decoder
        from tasks.decoder_students.search.task import list_choices

        output = search_decoder(name, root, config, set)
        show_output(output)
        show_lines(list_choices(output))

    guarded(work)


@app.command("evaluate", rich_help_panel=STAGES)
def evaluate_command(name: Name, root: Root = "data", config: Config = None, set: Set = None) -> None:
    """All metrics of all systems on the test split, with intervals and paired contrasts."""
    start(root)

    def work() -> None:
        from flows.evaluate import evaluate

        evaluate(name, root, config, set)
        show_leaderboard(root, name)

    guarded(work)


@app.command("report", rich_help_panel=RESULTS)
def report_command(name: Name = SAMPLE, root: Root = "data", config: Config = None, set: Set = None) -> None:
    """Write the static report and the data-quality pages."""
    start(root)

    def work() -> None:
        from flows.report import report

        out.print(report(name, root, config, set))

    guarded(work)


@app.command("tag", rich_help_panel=RESULTS)
def tag_command(
    student: Annotated[
        str, typer.Argument(metavar="STUDENT", help="A student's folder, or DATASET/SYSTEM[-seedN] for the newest one trained.")
    ],
    source: Annotated[str, typer.Argument(metavar="IN", help="Texts: .parquet, .jsonl, .csv; the latter two also .gz.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="Labels, a row a document and rank; the same formats.")],
    root: Root = "data",
    config: Config = None,
    set: Set = None,
    top: Annotated[int | None, typer.Option(help="Labels a document; default 10.")] = None,
    min_probability: Annotated[float | None, typer.Option(help="Leave out labels less probable than this.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Default: document_text, text, or title and content.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Default: document_id, uid, id, or the line number.")] = None,
    max_reject_frac: Annotated[float | None, typer.Option(help="Share of unusable rows above which nothing is tagged.")] = None,
    format: Annotated[str | None, typer.Option(help="Format of IN: parquet, jsonl or csv; default: by its name.")] = None,
    out_format: Annotated[str | None, typer.Option(help="Format of OUT.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what stands at OUT.")] = False,
) -> None:
    """Label a file of texts with a trained student; rows that cannot be tagged go to OUT.skipped.jsonl with their reason."""
    start(root)
    chosen = {
        "top": top,
        "min_probability": min_probability,
        "text_column": text_column,
        "id_column": id_column,
        "max_reject_frac": max_reject_frac,
    }
    options = [f"tag.{name}={json.dumps(value)}" for name, value in chosen.items() if value is not None]

    def work() -> None:
        from flows.tag import tag

        show_lines(tag(student, source, target, root, config, [*(set or []), *options], format, out_format, overwrite))

    guarded(work)


@app.command("sql", rich_help_panel=RESULTS)
def sql_command(
    query: Annotated[str | None, typer.Argument(help="A select; without one, the views and their columns.")] = None,
    root: Root = "data",
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated instead of aligned.")] = False,
) -> None:
    """Query the warehouse, read-only."""
    guarded(lambda: print_query(root, query, csv))


def print_query(root: str, query: str | None, is_csv: bool) -> None:
    """Print the rows of a query, or the views."""
    from tasks.runs.task import ask_warehouse, list_views

    rows = list_views(root) if query is None else ask_warehouse(root, query)
    if is_csv:
        sys.stdout.write(rows.write_csv())
        return
    table = Table(box=None, pad_edge=False)
    for column, dtype in rows.schema.items():
        table.add_column(column, justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in rows.iter_rows():
        table.add_row(*(shown(value) for value in row))
    console = out if out.is_terminal else Console(highlight=False, width=PIPED_WIDTH)
    console.print(table, soft_wrap=False)


def shown(value: object) -> str:
    """A value as people read it: six digits at most, null as a dash."""
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@app.command("teacher", rich_help_panel=TOOLS)
def teacher_command(
    name: Name = SAMPLE,
    root: Root = "data",
    config: Config = None,
    set: Set = None,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8399,
    brief: Annotated[str | None, typer.Option(hidden=True, help="Serve this brief, written by a run.")] = None,
    is_watched: Annotated[bool, typer.Option("--is-watched", hidden=True, help="End when stdin closes.")] = False,
) -> None:
    """Serve the stand-in teacher on loopback, for trying a client against it. It is not a language model.

    Needs an indexed dataset: `ctd ingest` and `ctd index` first. Base URL: http://127.0.0.1:PORT/v1.
    """
    start(root)

    def work() -> None:
        from flows.teacher import prepare_brief
        from tasks.traces.stand_in.task import serve_stand_in

        serve_stand_in(brief or prepare_brief(name, root, config, set), host, port, is_watched)

    guarded(work)


@app.command("config", rich_help_panel=TOOLS)
def config_command(
    validate: Annotated[Path | None, typer.Option("--validate", help="Check this settings file and stop.")] = None,
) -> None:
    """Every setting with type, bound, default and meaning; `--validate` checks a file without running."""

    def work() -> None:
        from tasks.runs.settings import list_settings

        if validate is not None:
            from tasks.runs.task import load_config

            load_config("unnamed", str(validate), [])
            out.print(f"{validate}: every setting is known and within its bounds")
            return
        for setting, kind, default, meaning in list_settings():
            out.print(f"{setting} = {default}  ({kind})\n    {meaning}", markup=False)

    guarded(work)


def main() -> None:
    """Entry point of the `ctd` command."""
    end_quietly()
    app()
