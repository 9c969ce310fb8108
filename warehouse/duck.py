"""The DuckDB warehouse: one writer at a time (open, write, close), readers through stable views."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import duckdb
import polars as pl

from schemas.errors import ConfigError, StorageError
from schemas.tables import TABLES, Table
from warehouse.layout import warehouse_path

logger = logging.getLogger(__name__)

WAIT_S = 60.0
STORED = ("out_runs", "out_costs", "out_checks", "out_metrics", "out_contrasts", "out_verdicts")
"""Small results, copied into the file; every other table is a view over its Parquet."""

VIEWS = (
    "leaderboard", "contrasts", "fidelity", "verdicts", "trajectories", "head_ranking", "patching", "traces", "costs", "checks",
    "runs",
)  # fmt: skip

_SQL_TYPES = {
    pl.String: "VARCHAR", pl.Int32: "INTEGER", pl.Int64: "BIGINT", pl.Float32: "FLOAT", pl.Float64: "DOUBLE",
    pl.Boolean: "BOOLEAN",
}  # fmt: skip

_PUBLISHED = (
    'create table if not exists published (dataset varchar, stage varchar, "table" varchar, run_id varchar, '
    "path varchar, content_hash varchar, row_count bigint, published_at varchar)"
)


def sql_type(dtype: pl.DataType | type[pl.DataType]) -> str:
    """The DuckDB type of a column's polars dtype."""
    return _SQL_TYPES.get(dtype if isinstance(dtype, type) else type(dtype), "TIMESTAMPTZ")


@contextmanager
def connect(root: Path, is_read_only: bool = False, wait_s: float = WAIT_S) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that is closed at the end of the block; waits while another process holds the file.

    Raises:
        StorageError: the file is still locked after `wait_s`, or cannot be opened.
    """
    connection = _open(warehouse_path(root), is_read_only, wait_s)
    try:
        connection.execute("set timezone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _open(path: Path, is_read_only: bool, wait_s: float) -> duckdb.DuckDBPyConnection:
    started, has_said = time.monotonic(), False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return duckdb.connect(str(path), read_only=is_read_only)
        except (duckdb.Error, OSError) as exc:
            if "lock" not in str(exc).lower() or time.monotonic() - started > wait_s:
                raise StorageError(f"warehouse {path}: cannot be opened: {exc}") from exc
            if not has_said:
                logger.warning("warehouse %s is in use, waiting up to %.0f s: %s", path, wait_s, exc)
                has_said = True
            time.sleep(0.2)


def create_stored(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the stored tables that do not exist yet, with their keys, and the columns they do not have yet."""
    for name in STORED:
        table = TABLES[name]
        columns = ", ".join(f'"{f.name}" {sql_type(f.dtype)}' for f in table.fields)
        key = ", ".join(f'"{column}"' for column in table.key)
        connection.execute(f"create table if not exists {name} ({columns}, primary key ({key}))")
        for f in table.fields:  # a warehouse made by an older version lacks what was added since
            connection.execute(f'alter table {name} add column if not exists "{f.name}" {sql_type(f.dtype)}')
    connection.execute(_PUBLISHED)
    connection.execute("create table if not exists warehouse_root (path varchar)")


def upsert(connection: duckdb.DuckDBPyConnection, table: Table, frame: pl.DataFrame) -> None:
    """Insert rows, replacing those of the same key."""
    if frame.height:
        rows = frame.to_arrow()
        connection.register("rows", rows)
        connection.execute(f"insert or replace into {table.name} by name select * from rows")
        connection.unregister("rows")


def replace_published(connection: duckdb.DuckDBPyConnection, rows: pl.DataFrame) -> None:
    """Replace the list of newest publications."""
    connection.execute("delete from published")
    if rows.height:
        connection.register("rows", rows.to_arrow())
        connection.execute("insert into published by name select * from rows")
        connection.unregister("rows")


def rebuild_views(connection: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Create the views: one over the Parquet files of every unstored table, then those of `views.sql`."""
    for name, table in TABLES.items():
        if name not in STORED:
            paths = connection.execute('select path from published where "table" = ? order by path', [name]).fetchall()
            connection.execute(f"create or replace view {name} as {_table_query(table, [p for (p,) in paths])}")
    connection.execute((files("warehouse") / "sql" / "views.sql").read_text())
    connection.execute("delete from warehouse_root")
    connection.execute("insert into warehouse_root values (?)", [str(root.resolve())])


def _table_query(table: Table, paths: Sequence[str]) -> str:
    if not paths:
        columns = ", ".join(f'null::{sql_type(f.dtype)} as "{f.name}"' for f in table.fields)
        return f"select {columns} where false"
    quoted = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    return f"select * from read_parquet([{quoted}], union_by_name = true)"


def write_warehouse(root: Path, write: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
    """Run `write` in one transaction: a kill at any moment leaves the last whole state.

    Raises:
        StorageError: the file cannot be opened or written.
    """
    with connect(root) as connection:
        try:
            connection.execute("begin")
            create_stored(connection)
            write(connection)
            rebuild_views(connection, root)
            connection.execute("commit")
        except duckdb.Error as exc:
            raise StorageError(f"warehouse {warehouse_path(root)}: cannot be written: {exc}") from exc


def query_warehouse(root: Path, sql: str) -> pl.DataFrame:
    """Rows of a read-only query.

    Raises:
        ConfigError: there is no warehouse yet, or DuckDB refuses the query.
        StorageError: the warehouse cannot be opened.
    """
    if not warehouse_path(root).exists():
        raise ConfigError(f"{warehouse_path(root)} does not exist: run `ctd run` first, or name the data root with --root")
    with connect(root, is_read_only=True) as connection:
        try:
            refuse_writing(connection, sql)
            return pl.DataFrame(connection.sql(sql).to_arrow_table())
        except duckdb.Error as exc:
            raise ConfigError(f"query refused: {exc}") from exc


def refuse_writing(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Let only queries through: `copy ... to` writes files even on a read-only connection.

    Raises:
        ConfigError: the text holds no statement, or one that is not a query.
    """
    kinds = [statement.type for statement in connection.extract_statements(sql)]
    allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if not kinds or any(kind not in allowed for kind in kinds):
        raise ConfigError(f"query refused: only select is allowed here, got {[kind.name for kind in kinds] or 'nothing'}")


def stored_root(root: Path) -> str:
    """The data root the views point at; another one means it was moved."""
    rows = query_warehouse(root, "select path from warehouse_root")
    return str(rows.item()) if rows.height else ""
