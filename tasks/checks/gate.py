"""Great Expectations as the judge: it sees the profile, one row with one share a check, never the tables.

GX has no polars, Arrow or DuckDB engine, so the counting is done before (`profile.py`) and this is the only module
that imports it, and pandas; inside the functions, because the import takes 3 seconds.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from schemas.errors import CheckFailedError
from tasks.checks.profile import Measurement
from tasks.checks.verdicts import Verdict

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite, ExpectationValidationResult
    from great_expectations.core.batch_definition import BatchDefinition

_CHATTY_LOGGER = "great_expectations.data_context.types.base"
"""Sets itself to INFO when imported, and tells of a folder for Data Docs that nobody asked for."""

_SEVERITIES = {"error": "critical", "warn": "warning"}


def judge(measurements: Sequence[Measurement]) -> tuple[Verdict, ...]:
    """Decide each measurement: does its share of broken rows stay within what its expectation allows?

    A measurement without a share has no column in the profile; GX then says that it could not run.

    Raises:
        CheckFailedError: Great Expectations cannot judge at all.
    """
    if not measurements:
        return ()
    import pandas as pd
    from great_expectations.exceptions.exceptions import GreatExpectationsError

    shares = {_name(i): [m.unexpected_frac] for i, m in enumerate(measurements) if m.unexpected_frac is not None}
    profile = pd.DataFrame({"profile": ["share of rows that break a check"]} | shares)
    try:
        batch = _batch_definition().get_batch(batch_parameters={"dataframe": profile})
        results = batch.validate(_suite(measurements)).results
    except GreatExpectationsError as exc:
        raise CheckFailedError(f"Great Expectations cannot judge {len(measurements)} checks: {exc}") from exc
    return _verdicts(measurements, results)


@cache
def _batch_definition() -> "BatchDefinition[None]":
    """Where profiles enter GX; made once a process, silent, and without a file."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger(_CHATTY_LOGGER).setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.analytics_enabled = False
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("gate").add_dataframe_asset("profile")
    return asset.add_batch_definition_whole_dataframe("profile")


def _suite(measurements: Sequence[Measurement]) -> "ExpectationSuite":
    from great_expectations.core import ExpectationSuite
    from great_expectations.expectations.core.expect_column_max_to_be_between import ExpectColumnMaxToBeBetween
    from great_expectations.expectations.metadata_types import FailureSeverity

    expectations = [
        ExpectColumnMaxToBeBetween(
            column=_name(i),
            max_value=m.expectation.max_frac,
            severity=FailureSeverity(_SEVERITIES[m.expectation.severity]),
            description=m.expectation.meaning,
            meta={"table": m.expectation.table, "column": m.expectation.column, "rule": repr(m.expectation.rule)},
        )
        for i, m in enumerate(measurements)
    ]
    return ExpectationSuite(name="gate", expectations=expectations)


def _verdicts(measurements: Sequence[Measurement], results: "Sequence[ExpectationValidationResult]") -> tuple[Verdict, ...]:
    by_column = {result.expectation_config.kwargs["column"]: result for result in results if result.expectation_config}
    return tuple(_verdict(measurement, by_column.get(_name(i))) for i, measurement in enumerate(measurements))


def _verdict(measurement: Measurement, result: "ExpectationValidationResult | None") -> Verdict:
    share = result.result.get("observed_value") if result else None
    if result is None or share is None:
        reason = measurement.note or _gx_reason(result)
        unknown = replace(measurement, unexpected_count=None, unexpected_frac=None, example_keys=(), note=reason)
        return Verdict(unknown, "could_not_run")
    return Verdict(replace(measurement, unexpected_frac=float(share)), "passed" if result.success else "failed")


def _gx_reason(result: "ExpectationValidationResult | None") -> str:
    info = (result.exception_info or {}) if result else {}
    messages = [str(part["exception_message"]) for part in info.values() if isinstance(part, dict)]
    return f"Great Expectations has no result: {'; '.join(messages) or 'no value observed'}"


def _name(number: int) -> str:
    return f"check_{number}"
