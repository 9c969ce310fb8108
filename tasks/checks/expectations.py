"""What a table must satisfy, as one list: the rules it declares, and those its columns, types and key imply."""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.checks import ReferenceRule, RowCountRule, RowRule, Rule
from schemas.fields import Field
from schemas.tables import Table

WHOLE_TABLE = "*"


@dataclass(frozen=True)
class ColumnsRule:
    """The file has no column but these, and has them in this order; a missing one breaks its `TypeRule`."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class TypeRule:
    """The file has the column, with this type."""

    column: str
    dtype: str


@dataclass(frozen=True)
class KeyRule:
    """No two rows agree in all of `columns`."""

    columns: tuple[str, ...]


@dataclass(frozen=True)
class Expectation:
    """One rule of one table, with the words that name it; `column` is `*` where the rule is about the whole table."""

    table: str
    column: str
    meaning: str
    rule: Rule | ColumnsRule | TypeRule | KeyRule
    severity: str = "error"
    max_frac: float = 0.0


def expectations_of(table: Table) -> tuple[Expectation, ...]:
    """Every expectation of the table, structure first; what is both declared and implied stands once, as declared."""
    found = (*_structure(table), *_values(table), *(_declared(table.name, rule) for rule in table.rules))
    return tuple({(e.column, e.meaning): e for e in found}.values())


def quoted(name: str) -> str:
    """The column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _structure(table: Table) -> Iterator[Expectation]:
    columns = ColumnsRule(table.columns)
    yield Expectation(table.name, WHOLE_TABLE, "no undeclared columns, and the declared order", columns)
    for field in table.fields:
        rule = TypeRule(field.name, str(field.dtype))
        yield Expectation(table.name, field.name, f"{field.name} is there, with type {rule.dtype}", rule)


def _values(table: Table) -> Iterator[Expectation]:
    for field in table.fields:
        for rule in _column_rules(field, field.name in table.nullable):
            yield _declared(table.name, rule)
    key = ", ".join(table.key)
    yield Expectation(table.name, key, f"the key ({key}) names one row", KeyRule(table.key))


def _column_rules(field: Field, is_nullable: bool) -> Iterator[RowRule]:
    column = quoted(field.name)
    if not is_nullable:
        yield RowRule(field.name, f"{column} is not null", f"{field.name} is not null")
    if field.allowed:
        values = ", ".join(f"'{value}'" for value in field.allowed)
        yield RowRule(field.name, f"{column} is null or {column} in ({values})", f"{field.name} is one of {values}")
    if field.name.endswith("_frac") and field.is_bounded:
        yield RowRule(field.name, f"{column} is null or {column} between 0 and 1", f"{field.name} lies in 0..1")


def _declared(table: str, rule: Rule) -> Expectation:
    match rule:
        case RowRule():
            return Expectation(table, rule.column, rule.meaning, rule, rule.severity, rule.max_frac)
        case ReferenceRule():
            columns, targets = ", ".join(rule.columns), ", ".join(rule.target_columns)
            named = "" if rule.columns == rule.target_columns else f" as {targets}"
            return Expectation(table, columns, f"{columns} occurs in {rule.table}{named}", rule, rule.severity)
        case RowCountRule():
            plural = "" if rule.minimum == 1 else "s"
            meaning = f"the table has at least {rule.minimum} row{plural}"
            return Expectation(table, WHOLE_TABLE, meaning, rule, rule.severity)
