"""The gate as tasks: read what a stage wrote, judge it, keep the record, stop the run if it must stop."""

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.errors import CheckFailedError, StorageError
from schemas.refs import RunRef, TableRef
from schemas.tables import OUT_CHECKS, TABLES
from tasks.checks.gate import judge
from tasks.checks.pages import INDEX_PAGE, render_quality_pages
from tasks.checks.profile import Measurement, Relations, parquet_relation, profile_table, unreadable_table
from tasks.checks.verdicts import Verdict, checks_frame, problem_lines
from warehouse.atomic import fresh_dir, write_atomically
from warehouse.layout import checks_path, report_dir
from warehouse.parquet import scan_table

logger = logging.getLogger(__name__)


@task(cache_policy=NO_CACHE, retries=0)
def check_tables(run: RunRef, stage: str, tables: tuple[TableRef, ...], known: tuple[TableRef, ...]) -> tuple[TableRef, ...]:
    """Check what a stage wrote and store the outcomes as `out_checks`, also when the run must stop.

    Args:
        run: where the outcomes are stored.
        stage: the stage that wrote the tables.
        tables: the tables to check.
        known: tables that they may refer to.

    Returns:
        `tables`, which may now be published.

    Raises:
        CheckFailedError: a check of severity `error` failed or could not run; the message has a line for each.
        StorageError: the outcomes cannot be written.
    """
    started = time.monotonic()
    relations = {ref.table: parquet_relation(ref.path, Path(ref.path).is_dir()) for ref in (*known, *tables)}
    with _database() as connection:
        measured = [m for ref in tables for m in _profile(connection, relations, ref)]
    verdicts = judge(measured)
    path = checks_path(run.root_path, run.run_id, stage)
    frame = checks_frame(verdicts, run.run_id, run.dataset, stage, datetime.now(UTC))
    write_atomically(path, frame.write_parquet)
    _log(stage, verdicts, time.monotonic() - started)
    if lines := problem_lines([v for v in verdicts if v.stops_run]):
        head = f"stage {stage} of {run.dataset}: not published, its tables fail the check (all outcomes: {path}):"
        raise CheckFailedError("\n  ".join([head, *lines]))
    return tables


@task(cache_policy=NO_CACHE)
def write_quality_pages(run: RunRef, checks: tuple[str, ...]) -> str:
    """Write the dataset's data-quality pages from `out_checks` files, replacing the old ones; returns the first page's path.

    Raises:
        StorageError: an `out_checks` file cannot be read, or the pages cannot be written.
    """
    folder = report_dir(run.root_path, run.dataset) / "quality"
    pages = render_quality_pages(_read_checks(checks), run.dataset)
    with fresh_dir(folder) as fresh:
        for name, html in pages.items():
            (fresh / name).write_text(html, encoding="utf-8")
    return str(folder / INDEX_PAGE)


def _profile(connection: duckdb.DuckDBPyConnection, relations: Relations, ref: TableRef) -> tuple[Measurement, ...]:
    table = TABLES[ref.table]
    try:
        seen = scan_table(ref).collect_schema()
    except StorageError as exc:
        return unreadable_table(table, str(exc))
    except (pl.exceptions.PolarsError, OSError) as exc:
        return unreadable_table(
            table, f"{ref.path} is not a whole Parquet file ({exc}); run `ctd {ref.stage} {ref.dataset}` again"
        )
    return profile_table(connection, relations, table, seen)


@contextmanager
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory; what does not fit spills to a temporary folder, not to the working directory."""
    with tempfile.TemporaryDirectory(prefix="ctd-checks-") as spill:
        connection = duckdb.connect(config={"temp_directory": spill, "autoinstall_known_extensions": "false"})
        try:
            yield connection.execute("set TimeZone = 'UTC'")
        finally:
            connection.close()


def _read_checks(paths: tuple[str, ...]) -> pl.DataFrame:
    try:
        return pl.concat([OUT_CHECKS.empty(), *(OUT_CHECKS.conform(pl.read_parquet(path)) for path in paths)])
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise StorageError(f"check outcomes cannot be read ({exc}); run the stage they belong to again") from exc


def _log(stage: str, verdicts: tuple[Verdict, ...], seconds: float) -> None:
    for line in problem_lines([v for v in verdicts if v.is_warning]):
        logger.warning("%s", line)
    passed = sum(v.outcome == "passed" for v in verdicts)
    logger.info("%s: %d of %d checks passed in %.1f s", stage, passed, len(verdicts), seconds)
