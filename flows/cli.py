"""`ctd`: one thin command a flow, in the order that `--help` lists them."""

import typer

from flows import result_commands as results
from flows import stage_commands as stages
from flows.environment import end_quietly
from flows.stage_commands import Command, stage_command

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Teach small models to pick the right labels out of very many the way a reasoning model does: "
    "shortlist, then refine. **ctd run** does everything on a shipped sample, without a key or a GPU.",
)

COMMANDS: dict[str, dict[str, Command]] = {
    "Everything": {"run": results.run},
    "Stages, in order": {
        "ingest": stages.ingest,
        "index": stages.index,
        "trace": stages.trace,
        "parse": stage_command("parse", "Traces to shortlists, steps, answers and rejects; mentions linked to labels."),
        "characterize": stages.characterize,
        "decoder": stage_command("decoder", "Train a small decoder on the traces: an open-weights stand-in for the teacher."),
        "heads": stages.heads,
        "distill": stage_command("distill", "Train students by method and seed, at equal budget."),
        "distill-decoder": stage_command("distill-decoder", "Train decoders that write traces, on tokens and on what heads do."),
        "search": stages.search,
        "fidelity": stage_command(
            "fidelity", "How decoder students reason: what they write, and what their rationales are worth."
        ),
        "search-decoder": stages.search_decoder,
        "evaluate": stages.evaluate,
    },
    "Results": {"report": results.report, "tag": results.tag, "sql": results.sql},
    "Tools": {"teacher": results.teacher, "config": results.config},
}
"""By panel of `--help` and name."""

for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)


def main() -> None:
    """Entry point of the `ctd` command."""
    end_quietly()
    app()
