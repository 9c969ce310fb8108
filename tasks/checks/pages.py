"""Data-quality pages: a first page, and a page a table with every expectation and what its columns mean.

They replace GX's Data Docs, which load six CDNs: these hold their style inline and ask the network for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import polars as pl
from jinja2 import Environment, StrictUndefined, Template

from schemas.tables import TABLES, Table

INDEX_PAGE = "index.html"
STATES = ("failed", "could not run", "warning", "passed")
"""Worst first; a `warn` check that failed is a warning, one that could not run stays unknown."""
_SYMBOLS = dict(zip(STATES, ("✗", "?", "!", "✓"), strict=True))


@dataclass(frozen=True)
class CheckRow:
    """One check as a page shows it."""

    column: str
    expectation: str
    severity: str
    state: str
    count_text: str
    share_text: str
    examples_text: str


@dataclass(frozen=True)
class StageChecks:
    """The newest checks of one table as one stage wrote it, the worst first."""

    stage: str
    run_id: str
    checked_at: str
    row_count: int | None
    checks: tuple[CheckRow, ...]


@dataclass(frozen=True)
class ColumnRow:
    """One column as a page describes it."""

    name: str
    dtype: str
    is_key: bool
    is_nullable: bool
    description: str
    allowed: str


@dataclass(frozen=True)
class TablePage:
    """One table: what a row is, its columns and its checks."""

    name: str
    row_text: str
    stages: tuple[StageChecks, ...]
    columns: tuple[ColumnRow, ...]

    @property
    def row_counts_text(self) -> str:
        """Rows of the table; of each stage that wrote one, if there are several."""
        counts = [("unknown" if s.row_count is None else f"{s.row_count:,}") for s in self.stages]
        if len(counts) == 1:
            return counts[0]
        return ", ".join(f"{stage.stage} {count}" for stage, count in zip(self.stages, counts, strict=True))

    def count(self, state: str) -> int:
        """How many of its checks are in the state."""
        return sum(check.state == state for stage in self.stages for check in stage.checks)

    @property
    def check_count(self) -> int:
        """How many checks it has."""
        return sum(len(stage.checks) for stage in self.stages)

    @property
    def state(self) -> str:
        """The worst state of its checks."""
        return next((state for state in STATES if self.count(state)), "passed")


def render_quality_pages(checks: pl.DataFrame, dataset: str) -> dict[str, str]:
    """HTML pages by file name: `index.html`, and `<table>.html` for every table that was checked.

    Args:
        checks: `out_checks` rows of any number of runs; of each table and stage the newest check counts.
        dataset: the name in the headings.
    """
    newest = _newest(checks)
    names = newest["table"].unique().to_list()
    pages = sorted((_table_page(name, newest.filter(table=name)) for name in names), key=_worst_first)
    totals = {state: sum(page.count(state) for page in pages) for state in STATES}
    shown = {"dataset": dataset, "pages": pages, "totals": totals, "states": STATES, "symbols": _SYMBOLS}
    html = {f"{page.name}.html": _template().render(shown, page=page) for page in pages}
    return {INDEX_PAGE: _template().render(shown, page=None)} | html


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("tasks.checks").joinpath("quality.html.jinja").read_text(encoding="utf-8"))


def _newest(checks: pl.DataFrame) -> pl.DataFrame:
    last = pl.col("checked_at").max().over("table", "stage")
    return checks.filter(pl.col("checked_at") == last).unique(["table", "stage", "expectation"], maintain_order=True)


def _worst_first(page: TablePage) -> tuple[int, int]:
    order = list(TABLES)
    return STATES.index(page.state), order.index(page.name) if page.name in order else len(order)


def _table_page(name: str, checks: pl.DataFrame) -> TablePage:
    table = TABLES.get(name)
    stages = tuple(_stage_checks(group) for group in checks.partition_by("stage", maintain_order=True))
    return TablePage(name, table.row if table else "", stages, _columns(table) if table else ())


def _stage_checks(checks: pl.DataFrame) -> StageChecks:
    rows = sorted((_check_row(row) for row in checks.iter_rows(named=True)), key=lambda row: STATES.index(row.state))
    first = checks.row(0, named=True)
    checked_at = f"{first['checked_at']:%Y-%m-%d %H:%M} UTC"
    return StageChecks(first["stage"], first["run_id"], checked_at, first["row_count"], tuple(rows))


def _check_row(row: dict[str, str | int | float | None]) -> CheckRow:
    count, share = row["unexpected_count"], row["unexpected_frac"]
    return CheckRow(
        column=str(row["column"]),
        expectation=str(row["expectation"]),
        severity=str(row["severity"]),
        state=_state(str(row["outcome"]), str(row["severity"])),
        count_text="unknown" if count is None else f"{count:,}",
        share_text="unknown" if share is None else f"{share:.4g}",
        examples_text=str(row["example_keys_text"]),
    )


def _state(outcome: str, severity: str) -> str:
    if outcome == "failed" and severity == "warn":
        return "warning"
    return outcome.replace("_", " ")


def _columns(table: Table) -> tuple[ColumnRow, ...]:
    return tuple(
        ColumnRow(f.name, str(f.dtype), f.name in table.key, f.name in table.nullable, f.description, _listed(f.allowed))
        for f in table.fields
    )


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values)
