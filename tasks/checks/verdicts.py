"""What the gate decided: `out_checks` rows for the record, one line a problem for the reader."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from schemas.checks import RowCountRule
from schemas.tables import OUT_CHECKS
from tasks.checks.profile import Measurement


@dataclass(frozen=True)
class Verdict:
    """One measurement and its outcome: `passed`, `failed` or `could_not_run`."""

    measurement: Measurement
    outcome: str

    @property
    def stops_run(self) -> bool:
        """True: the stage must not be published."""
        return self.outcome != "passed" and self.measurement.expectation.severity == "error"

    @property
    def is_warning(self) -> bool:
        """True: worth a line in the log, no more."""
        return self.outcome != "passed" and not self.stops_run


def checks_frame(verdicts: Iterable[Verdict], run_id: str, dataset: str, stage: str, checked_at: datetime) -> pl.DataFrame:
    """The verdicts as `out_checks` rows; a check that could not run has its reason in place of example keys."""
    origin = {"run_id": run_id, "dataset": dataset, "stage": stage, "checked_at": checked_at}
    rows = [origin | _row(verdict) for verdict in verdicts]
    return OUT_CHECKS.conform(pl.DataFrame(rows, schema_overrides=OUT_CHECKS.schema) if rows else OUT_CHECKS.empty())


def problem_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """One line a verdict that did not pass; checks of one table that could not run for one reason share a line."""
    failed = [_failed_line(v.measurement) for v in verdicts if v.outcome == "failed"]
    unknown: dict[tuple[str, str], list[Measurement]] = {}
    for measured in (v.measurement for v in verdicts if v.outcome == "could_not_run"):
        unknown.setdefault((measured.expectation.table, measured.note), []).append(measured)
    return failed + [_unknown_line(group) for group in unknown.values()]


def _row(verdict: Verdict) -> dict[str, str | int | float | None]:
    measured = verdict.measurement
    return {
        "table": measured.expectation.table,
        "expectation": measured.expectation.meaning,
        "column": measured.expectation.column,
        "severity": measured.expectation.severity,
        "outcome": verdict.outcome,
        "unexpected_count": measured.unexpected_count,
        "row_count": measured.row_count,
        "unexpected_frac": measured.unexpected_frac,
        "example_keys_text": _examples(measured),
    }


def _examples(measured: Measurement) -> str:
    note = f"({measured.note})" if measured.note and measured.unexpected_count is not None else measured.note
    return " ".join(part for part in (note, "; ".join(measured.example_keys)) if part)


def _failed_line(measured: Measurement) -> str:
    expectation = measured.expectation
    note = f" ({measured.note})" if measured.note else ""
    examples = f", e.g. {'; '.join(measured.example_keys)}" if measured.example_keys else ""
    where = f"{expectation.table}.{expectation.column}"
    return f'{where}: {_counted(measured)} break "{expectation.meaning}"{note}{examples}'


def _counted(measured: Measurement) -> str:
    if isinstance(measured.expectation.rule, RowCountRule):
        return f"{measured.row_count} rows"
    allowed = measured.expectation.max_frac
    limit = f" > {allowed:g} allowed" if allowed else ""
    return f"{measured.unexpected_count} of {measured.row_count} rows ({measured.unexpected_frac or 0.0:.4g}{limit})"


def _unknown_line(measured: Sequence[Measurement]) -> str:
    first = measured[0].expectation
    if len(measured) == 1:
        return f'{first.table}.{first.column}: could not run "{first.meaning}": {measured[0].note}'
    meanings = "; ".join(f'"{m.expectation.meaning}"' for m in measured[:3])
    more = f" and {len(measured) - 3} more" if len(measured) > 3 else ""
    return f"{first.table}.*: {len(measured)} checks could not run ({meanings}{more}): {measured[0].note}"
