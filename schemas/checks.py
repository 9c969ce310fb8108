"""What a table must satisfy: declared here, judged in `tasks/checks`. Rules are SQL conditions over one row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RowRule:
    """Every row satisfies `condition` (DuckDB SQL), but for a share of at most `max_frac` of them."""

    column: str
    condition: str
    meaning: str
    severity: str = "error"
    max_frac: float = 0.0


@dataclass(frozen=True)
class ReferenceRule:
    """Every non-null value of `columns` occurs in `table` (of the same dataset) in `target_columns`."""

    columns: tuple[str, ...]
    table: str
    target_columns: tuple[str, ...]
    severity: str = "error"


@dataclass(frozen=True)
class RowCountRule:
    """The table has at least `minimum` rows."""

    minimum: int = 1
    severity: str = "error"


Rule = RowRule | ReferenceRule | RowCountRule
