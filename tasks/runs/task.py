"""Open and close runs, find what a stage reads, reuse or publish what it wrote, load the warehouse."""

import json
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import duckdb
import polars as pl

from schemas.config import PipelineConfig
from schemas.errors import ConfigError
from schemas.refs import RunRef, StageInputs, StageOutput, StageResult, TableRef
from schemas.stages import MAIN_WRITERS, PRODUCERS, STAGES
from schemas.tables import OUT_CHECKS, OUT_CONTRASTS, OUT_COSTS, OUT_METRICS, OUT_RUNS, OUT_VERDICTS
from tasks.runs.leaderboard import leaderboard_query, leaderboard_table
from tasks.runs.records import cost_rows, published_rows
from tasks.runs.settings import resolve_config, seeds_of
from warehouse.atomic import hash_dir, hash_file
from warehouse.duck import VIEWS, query_warehouse, replace_published, stored_root, upsert, write_warehouse
from warehouse.layout import checked_name, checks_path, report_dir, run_dir, warehouse_path
from warehouse.parquet import read_table, write_table
from warehouse.published import find_inputs, find_output, fingerprint, latest_output, newest_outputs, run_outputs, save_output
from warehouse.run_records import (
    code_commit,
    now_text,
    package_versions,
    processor,
    read_record,
    record_frame,
    write_record,
)
from warehouse.settings_files import read_settings, sample_dir, sample_settings

logger = logging.getLogger(__name__)


def load_config(name: str, config: str | None, overrides: Sequence[str]) -> PipelineConfig:
    """Settings of a dataset: those of a shipped sample, then the file's, then the overrides.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or out of bounds.
    """
    layers = [sample_settings(name)] + ([read_settings(Path(config))] if config else [])
    return resolve_config(layers, overrides)


def open_run(command: str, name: str, root: str, config: str | None, overrides: Sequence[str], path: str | None = None) -> RunRef:
    """Begin a run: resolve its settings and write its record before anything else happens.

    Raises:
        ConfigError: the dataset name or a setting is wrong; nothing is written.
        StorageError: the data root cannot be written.
    """
    settings = load_config(checked_name(name), config, overrides)
    source = path or settings.ingest.path or (str(sample_dir(name)) if sample_dir(name) else None)
    settings = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"path": source})})
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    run = RunRef(
        root=str(Path(root).expanduser().resolve()),
        run_id=f"{stamp}-{uuid4().hex[:6]}",
        dataset=name,
        command=command,
        config=settings,
    )
    record = {
        "run_id": run.run_id,
        "dataset": name,
        "command": command,
        "status": "running",
        "config_json": settings.model_dump_json(),
        "seeds_json": json.dumps(seeds_of(settings)),
        "commit": code_commit(),
        "versions_json": package_versions(),
        "device": processor(),
        "inputs_json": "{}",
        "started_at": now_text(),
        "finished_at": None,
        "error_text": None,
    }
    write_record(run.root_path, record)
    return run


def resume_run(root: str, run_id: str) -> RunRef:
    """The run that a parent flow opened.

    Raises:
        StorageError: there is no such run.
    """
    path = Path(root).expanduser().resolve()
    record = read_record(path, run_id)
    return RunRef(
        root=str(path),
        run_id=run_id,
        dataset=str(record["dataset"]),
        command=str(record["command"]),
        config=PipelineConfig.model_validate_json(str(record["config_json"])),
    )


def close_run(run: RunRef, status: str, error: str | None = None) -> None:
    """End a run: its record says how, and the warehouse holds what it made and what its checks found."""
    outputs = run_outputs(run.root_path, run.run_id, list(STAGES))
    record = read_record(run.root_path, run.run_id)
    inputs = {f"{output.stage}:{ref.table}": ref.content_hash for output in outputs for ref in output.tables}
    record |= {"status": status, "finished_at": now_text(), "error_text": error, "inputs_json": json.dumps(inputs)}
    write_record(run.root_path, record)
    load_warehouse(run)


def stage_inputs(run: RunRef, stage: str) -> StageInputs:
    """What the stage reads, as published.

    Raises:
        MissingTableError: an earlier stage was not run.
        StorageError: a published file was changed since.
    """
    return find_inputs(run, STAGES[stage])


def all_published(run: RunRef) -> StageInputs:
    """Every published table and artifact of the dataset.

    Of a table that several stages write, the one of `MAIN_WRITERS` has the plain name, the others carry `stage:` before it.
    """
    outputs = [output for output in (latest_output(run, stage) for stage in STAGES) if output]
    tables = {}
    for output in outputs:
        for ref in output.tables:
            is_plain = PRODUCERS.get(ref.table, MAIN_WRITERS.get(ref.table)) == output.stage
            tables[ref.table if is_plain else f"{output.stage}:{ref.table}"] = ref
    return StageInputs(tables=tables, artifacts={ref.name: ref for output in outputs for ref in output.artifacts})


def known_tables(run: RunRef, inputs: StageInputs) -> tuple[TableRef, ...]:
    """The tables that references may point into: a stage's inputs, and whatever else is published of the dataset."""
    return tuple((all_published(run).tables | inputs.tables).values())


def hash_source(path: str | None) -> str:
    """SHA-256 over a dataset's files.

    Raises:
        ConfigError: no path is given, or there is nothing at it.
    """
    if path is None:
        raise ConfigError("no dataset path: give PATH, or name a shipped sample (debian-seealso-small)")
    if not Path(path).is_dir():
        raise ConfigError(f"dataset path {path}: there is no such folder; expected one with trn.json, tst.json and lbl.json")
    return hash_dir(Path(path))


def hash_knowledge(run: RunRef) -> str:
    """SHA-256 of the stand-in's knowledge file, or nothing if there is none.

    Raises:
        ConfigError: the setting names a file that is not there.
    """
    knowledge = run.config.teacher.stand_in.knowledge
    if knowledge is None:
        return ""
    if not Path(knowledge).is_file():
        raise ConfigError(f"teacher.stand_in.knowledge = {knowledge!r}: there is no such file")
    return hash_file(Path(knowledge))


def stage_fingerprint(run: RunRef, stage: str, inputs: StageInputs, source_hash: str) -> str:
    """Hash of everything the stage's result depends on; taken once, before the work, so that it names what ran."""
    return fingerprint(run, STAGES[stage], inputs, source_hash)


def reuse_stage(run: RunRef, stage: str, wanted: str) -> StageOutput | None:
    """The earlier publication of this fingerprint, if it is complete and its files are intact."""
    found = find_output(run.root_path, run.dataset, stage, wanted)
    if found is None or not found.is_complete:
        return None
    reused = found.model_copy(update={"is_reused": True})
    save_output(run, reused)
    logger.info("%s: nothing changed, took the result of run %s", stage, found.run_id)
    return reused


def publish_stage(
    run: RunRef, stage: str, inputs: StageInputs, made_from: str, result: StageResult, started: float
) -> StageOutput:
    """Publish what a stage wrote, after its checks passed."""
    output = StageOutput(
        stage=stage,
        dataset=run.dataset,
        run_id=run.run_id,
        fingerprint=made_from,
        inputs=tuple(f"{name}@{ref.content_hash}" for name, ref in inputs.tables.items()),
        tables=result.tables,
        artifacts=result.artifacts,
        cost=result.cost,
        duration_s=time.monotonic() - started,
        published_at=now_text(),
        is_complete=result.is_complete,
    )
    save_output(run, output)
    rows = ", ".join(f"{ref.table} {ref.row_count}" for ref in output.tables)
    logger.info("%s: done in %.1f s (%s)", stage, output.duration_s, rows)
    return output


def load_warehouse(run: RunRef) -> None:
    """Load a run's record, costs, checks and results, and point the views at the newest publications.

    Raises:
        StorageError: the warehouse cannot be written.
    """
    root = run.root_path
    outputs = run_outputs(root, run.run_id, list(STAGES))
    newest = newest_outputs(root, list(STAGES))
    checks = [path for stage in STAGES if (path := checks_path(root, run.run_id, stage)).exists()]

    def write(connection: duckdb.DuckDBPyConnection) -> None:
        upsert(connection, OUT_RUNS, record_frame(read_record(root, run.run_id)))
        upsert(connection, OUT_COSTS, cost_rows(run.run_id, outputs))
        for path in checks:
            upsert(connection, OUT_CHECKS, OUT_CHECKS.conform(pl.read_parquet(path)))
        for table in (OUT_METRICS, OUT_CONTRASTS, OUT_VERDICTS):
            for ref in (ref for output in newest for ref in output.tables if ref.table == table.name):
                upsert(connection, table, read_table(ref))
        replace_published(connection, published_rows(newest))

    write_warehouse(root, write)


def with_costs(run: RunRef, inputs: StageInputs) -> StageInputs:
    """The inputs with `out_costs` of the run added, for the report."""
    outputs = run_outputs(run.root_path, run.run_id, list(STAGES))
    latest = outputs or [output for output in (latest_output(run, stage) for stage in STAGES) if output]
    costs = write_table(run, "report", OUT_COSTS, cost_rows(run.run_id, latest))
    return inputs.model_copy(update={"tables": inputs.tables | {"out_costs": costs}})


def checks_files(run: RunRef) -> tuple[str, ...]:
    """The check results to show: this run's where it ran a stage, else those of the run that published it."""
    paths = []
    for stage in STAGES:
        own = checks_path(run.root_path, run.run_id, stage)
        published = latest_output(run, stage)
        earlier = checks_path(run.root_path, published.run_id, stage) if published else own
        paths += [str(path) for path in (own if own.exists() else earlier,) if path.exists()]
    return tuple(paths)


def ask_warehouse(root: str, sql: str) -> pl.DataFrame:
    """Rows of a read-only query; views are rebuilt first if the data root was moved.

    Raises:
        ConfigError: there is no warehouse, or the query is refused.
        StorageError: the warehouse cannot be opened.
    """
    path = Path(root).expanduser().resolve()
    if warehouse_path(path).exists() and stored_root(path) != str(path):
        newest = newest_outputs(path, list(STAGES))
        write_warehouse(path, lambda connection: replace_published(connection, published_rows(newest)))
    return query_warehouse(path, sql)


def list_views(root: str) -> pl.DataFrame:
    """The views for readers with their columns and types."""
    names = ", ".join(f"'{name}'" for name in VIEWS)
    columns = "string_agg(column_name || ' ' || lower(data_type), ', ' order by ordinal_position)"
    source = f"information_schema.columns where table_name in ({names})"
    return ask_warehouse(root, f"select table_name as view, {columns} as columns from {source} group by 1 order by 1")


def result_paths(run: RunRef) -> dict[str, str]:
    """Where a person finds the results: report, data-quality pages, warehouse, run folder."""
    root = run.root_path
    pages = report_dir(root, run.dataset)
    return {
        "report": str(pages / "index.html"),
        "data quality": str(pages / "quality" / "index.html"),
        "warehouse": str(warehouse_path(root)),
        "run": str(run_dir(root, run.run_id)),
    }


def leaderboard(root: str, dataset: str) -> tuple[list[str], list[list[str]]]:
    """Header and lines of a dataset's leaderboard, in percent with 95% intervals.

    Raises:
        ConfigError: there is no warehouse yet.
    """
    return leaderboard_table(ask_warehouse(root, leaderboard_query(checked_name(dataset))))


def check_summary(root: str, dataset: str) -> list[dict[str, object]]:
    """Expectations of a dataset by stage, table, severity and outcome, over all its runs."""
    counts = "count(*) as checks, sum(coalesce(unexpected_count, 0))::bigint as unexpected"
    where = f"where dataset = '{checked_name(dataset)}'"
    rows = ask_warehouse(
        root, f'select stage, "table", severity, outcome, {counts} from out_checks {where} group by all order by all'
    )
    return rows.to_dicts()
