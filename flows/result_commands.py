"""The commands that are no stage: the whole pipeline, its results, and tools. Flows are imported when their command runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.terminal import (
    SAMPLE,
    Config,
    Name,
    Root,
    Set,
    guarded,
    out,
    print_query,
    show_leaderboard,
    show_lines,
    show_paths,
    start,
)


def run(
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


def report(name: Name = SAMPLE, root: Root = "data", config: Config = None, set: Set = None) -> None:
    """Write the static report and the data-quality pages."""
    start(root)

    def work() -> None:
        from flows.report import report

        out.print(report(name, root, config, set))

    guarded(work)


def tag(
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


def sql(
    query: Annotated[str | None, typer.Argument(help="A select; without one, the views and their columns.")] = None,
    root: Root = "data",
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated instead of aligned.")] = False,
) -> None:
    """Query the warehouse, read-only."""
    guarded(lambda: print_query(root, query, csv))


def teacher(
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


def config(
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
