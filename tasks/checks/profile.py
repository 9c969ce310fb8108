"""How many rows break each expectation of a table: a few DuckDB aggregates, whatever the number of rows.

A rule that cannot be computed (no such column, wrong type, damaged file) has no count but a reason: it is not broken,
it is unknown.
"""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb
import polars as pl

from schemas.checks import ReferenceRule, RowCountRule, RowRule
from schemas.tables import TABLES, Table
from tasks.checks.expectations import ColumnsRule, Expectation, KeyRule, TypeRule, expectations_of, quoted

Relations = Mapping[str, str]
EXAMPLES = 3
LONGEST_VALUE = 80


@dataclass(frozen=True)
class Measurement:
    """One expectation and the rows that break it.

    Attributes:
        row_count: rows of the table; None if they could not be counted.
        unexpected_count: rows that break the expectation; None if it could not run.
        unexpected_frac: their share, 0 to 1; None if it could not run.
        example_keys: keys of up to three of them.
        note: what was seen instead, or why the expectation could not run.
    """

    expectation: Expectation
    row_count: int | None = None
    unexpected_count: int | None = None
    unexpected_frac: float | None = None
    example_keys: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Offenders:
    """The rows that break a rule, as SQL: where they come from, and how to count them."""

    source: str
    count: str = "count(*)"


@dataclass(frozen=True)
class _Source:
    """One table as DuckDB sees it; `key` has the key columns the file really has."""

    connection: duckdb.DuckDBPyConnection
    relations: Relations
    table: Table
    seen: pl.Schema
    row_count: int

    @property
    def relation(self) -> str:
        return self.relations[self.table.name]

    def first_keys(self, offenders: str) -> tuple[str, ...]:
        """Up to three keys of rows in `offenders`, the smallest first."""
        key = [name for name in self.table.key if name in self.seen]
        if not key:
            return ()
        columns = ", ".join(quoted(name) for name in key)
        rows = self.connection.execute(f"select {columns} from {offenders} order by all limit {EXAMPLES}").fetchall()
        return tuple(", ".join(f"{name}={_short(value)}" for name, value in zip(key, row, strict=True)) for row in rows)


def parquet_relation(path: str, is_folder: bool = False) -> str:
    """SQL that reads a Parquet file, or all parts of a folder of them, whatever characters the path has."""
    pattern = glob.escape(path) + ("/*.parquet" if is_folder else "")
    return "read_parquet('{}', hive_partitioning = false)".format(pattern.replace("'", "''"))


def profile_table(
    connection: duckdb.DuckDBPyConnection, relations: Relations, table: Table, seen: pl.Schema
) -> tuple[Measurement, ...]:
    """Count the rows that break each expectation of the table.

    Args:
        connection: where the SQL runs.
        relations: SQL that yields the rows of a table, by table name: this one and those it refers to.
        table: what the rows should be.
        seen: columns and types the table's file really has.

    Returns:
        One measurement an expectation, in the order of `expectations_of`.
    """
    try:
        row_count = _number(connection, f"select count(*) from {relations[table.name]}")
    except duckdb.Error as exc:
        return unreadable_table(table, _reason(exc))
    source = _Source(connection, relations, table, seen, row_count)
    expectations = expectations_of(table)
    counts = _count_together(source, [e.rule for e in expectations if isinstance(e.rule, RowRule)])
    return tuple(_measure(source, e, counts) for e in expectations)


def unreadable_table(table: Table, reason: str) -> tuple[Measurement, ...]:
    """The measurements of a table whose file cannot be read: none of its expectations could run."""
    return tuple(Measurement(e, note=reason) for e in expectations_of(table))


def offending_rows(relations: Relations, table: Table, rule: RowRule | ReferenceRule | KeyRule) -> Offenders:
    """The rows of the table that break the rule.

    Raises:
        KeyError: the table the rule refers to is not among `relations`.
    """
    relation = relations[table.name]
    match rule:
        case RowRule():
            return Offenders(f"{relation} where ({rule.condition}) is not true")
        case ReferenceRule():
            return Offenders(f"{relation} as source where {_dangling(rule, table, relations[rule.table])}")
        case KeyRule():
            key = ", ".join(quoted(name) for name in rule.columns)
            shared = f"select {key}, count(*) as sharing_count from {relation} group by {key} having count(*) > 1"
            return Offenders(f"({shared})", "coalesce(sum(sharing_count), 0)")


def _dangling(rule: ReferenceRule, table: Table, target: str) -> str:
    pairs = list(zip(rule.columns, rule.target_columns, strict=True))
    if "dataset" in table.columns and "dataset" in TABLES[rule.table].columns:
        pairs.append(("dataset", "dataset"))
    filled = " and ".join(f"source.{quoted(name)} is not null" for name in rule.columns)
    equal = " and ".join(f"source.{quoted(mine)} = target.{quoted(theirs)}" for mine, theirs in pairs)
    return f"{filled} and not exists (select 1 from {target} as target where {equal})"


def _count_together(source: _Source, rules: Sequence[RowRule]) -> dict[RowRule, int]:
    """Counts of all row rules in one scan; empty if one of them cannot be computed, they are then counted one by one."""
    counts = ", ".join(f"count(*) filter (where ({rule.condition}) is not true)" for rule in rules)
    try:
        found = source.connection.execute(f"select {counts} from {source.relation}").fetchone() if rules else ()
    except duckdb.Error:
        return {}
    return dict(zip(rules, found or (), strict=True))


def _measure(source: _Source, expectation: Expectation, counts: Mapping[RowRule, int]) -> Measurement:
    blank = Measurement(expectation, source.row_count)
    rule = expectation.rule
    try:
        match rule:
            case RowCountRule():
                missing = max(rule.minimum - source.row_count, 0)
                return replace(blank, unexpected_count=missing, unexpected_frac=missing / max(rule.minimum, 1))
            case ColumnsRule() | TypeRule():
                return _measure_structure(source, blank, _seen_instead(rule, source.seen))
            case _:
                return _measure_rows(source, blank, rule, counts)
    except duckdb.Error as exc:
        return replace(blank, note=_reason(exc))


def _measure_rows(
    source: _Source, blank: Measurement, rule: RowRule | ReferenceRule | KeyRule, counts: Mapping[RowRule, int]
) -> Measurement:
    if isinstance(rule, ReferenceRule) and rule.table not in source.relations:
        return replace(blank, note=f"{rule.table} is not among the tables given to the check")
    rows = offending_rows(source.relations, source.table, rule)
    count = counts.get(rule) if isinstance(rule, RowRule) else None
    if count is None:
        count = _number(source.connection, f"select {rows.count} from {rows.source}")
    keys = source.first_keys(rows.source) if count else ()
    return replace(blank, unexpected_count=count, unexpected_frac=count / max(source.row_count, 1), example_keys=keys)


def _measure_structure(source: _Source, blank: Measurement, instead: str) -> Measurement:
    """A wrong structure breaks every row, and the table also when it has none."""
    if not instead:
        return replace(blank, unexpected_count=0, unexpected_frac=0.0)
    keys = source.first_keys(source.relation)
    return replace(blank, unexpected_count=source.row_count, unexpected_frac=1.0, example_keys=keys, note=instead)


def _seen_instead(rule: ColumnsRule | TypeRule, seen: pl.Schema) -> str:
    if isinstance(rule, TypeRule):
        dtype = seen.get(rule.column)
        if dtype is None:
            return "the file has no such column"
        return "" if str(dtype) == rule.dtype else f"the file has {dtype}"
    expected = [name for name in rule.columns if name in seen]
    return "" if list(seen) == expected else f"the file has {', '.join(seen)}"


def _number(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _reason(exc: duckdb.Error) -> str:
    return str(exc).strip().splitlines()[0]


def _short(value: object) -> str:
    text = "null" if value is None else " ".join(str(value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
