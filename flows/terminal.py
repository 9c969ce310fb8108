"""How a command meets its terminal: options that commands share, errors as exit codes, and what is printed."""

import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flows.environment import prepare_environment, show_progress
from schemas.errors import CheckFailedError, ConfigError, PipelineError

out = Console(highlight=False, soft_wrap=True)

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


def show_output(output: Any) -> None:
    """Print what a stage published."""
    for ref in output.tables:
        out.print(f"{ref.table:18} {ref.row_count:>9} rows  {ref.path}")
    for ref in output.artifacts:
        out.print(f"{ref.name:18} {'':>14}  {ref.path}")


def show_lines(lines: list[tuple[str, str]]) -> None:
    """Print names and what is known of them."""
    for what, value in lines:
        out.print(f"{what:13} {value}", markup=False)


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
