"""Tables on disk: read what a `TableRef` names, write what a `Table` allows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import SchemaMismatchError, StorageError
from schemas.refs import ArtifactRef, RunRef, TableRef
from schemas.tables import TABLES, Table
from warehouse.atomic import fresh_files, hash_dir, hash_file, write_atomically
from warehouse.layout import table_path

ZSTD_LEVEL = 3
"""Level 3 is within 5% of level 9's size at a fifth of its time (measured on traces)."""

READ_BYTES = 1 << 20
"""A column is read from disk in pieces of so many bytes, not a row group at once."""


def write_table(run: RunRef, stage: str, table: Table, frame: pl.DataFrame) -> TableRef:
    """Write the whole table for this run and stage, replacing an earlier one.

    Raises:
        SchemaMismatchError: the frame's columns or types are not the table's (call `table.conform` first).
        StorageError: the data root cannot be written.
    """
    if frame.schema != table.schema:
        raise SchemaMismatchError(f"{table.name}: got {dict(frame.schema)}, declared {dict(table.schema)}")
    path = table_path(run.root_path, run.run_id, stage, table.name)
    write_atomically(path, lambda p: frame.write_parquet(p, compression="zstd", compression_level=ZSTD_LEVEL))
    return table_ref(run, stage, table.name, path)


def table_ref(run: RunRef, stage: str, table: str, path: Path) -> TableRef:
    """The reference to a table that stands at `path`, with its content hash and row count."""
    row_count = pl.scan_parquet(path).select(pl.len()).collect().item()
    return TableRef(
        table=table,
        dataset=run.dataset,
        run_id=run.run_id,
        stage=stage,
        path=str(path),
        content_hash=hash_file(path),
        row_count=row_count,
    )


def artifact_ref(run: RunRef, stage: str, name: str, path: Path) -> ArtifactRef:
    """The reference to a folder that stands at `path`, with its content hash."""
    return ArtifactRef(
        name=name, dataset=run.dataset, run_id=run.run_id, stage=stage, path=str(path), content_hash=hash_dir(path)
    )


def scan_table(ref: TableRef) -> pl.LazyFrame:
    """The table as a lazy frame.

    Raises:
        StorageError: the file is missing.
    """
    if not Path(ref.path).exists():
        raise StorageError(f"{ref.table}: {ref.path} is gone; run `ctd {ref.stage} {ref.dataset}` again")
    return pl.scan_parquet(ref.path)


def read_table(ref: TableRef, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """The table, or some of its columns.

    Raises:
        StorageError: the file is missing or damaged.
        SchemaMismatchError: the file does not have the declared columns and types.
    """
    lazy = scan_table(ref)
    try:
        frame = (lazy.select(columns) if columns else lazy).collect()
    except pl.exceptions.PolarsError as exc:
        raise StorageError(f"{ref.table}: {ref.path} cannot be read: {exc}") from exc
    declared = TABLES[ref.table].schema
    wrong = {name: dtype for name, dtype in frame.schema.items() if declared.get(name) != dtype}
    if wrong:
        raise SchemaMismatchError(f"{ref.table}: {ref.path} has {wrong}; declared {dict(declared)}")
    return frame


def iter_table(ref: TableRef, row_count: int, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Some columns of the table, so many rows at a time (fewer at the end), holding no more than these in memory.

    Raises:
        StorageError: the file is missing or damaged.
        SchemaMismatchError: the file does not have the declared types.
    """
    declared = {name: TABLES[ref.table].schema[name] for name in columns}
    try:
        with pq.ParquetFile(ref.path, buffer_size=READ_BYTES) as file:
            for batch in file.iter_batches(row_count, columns=list(columns)):
                frame = pl.DataFrame(batch)
                if dict(frame.schema) != declared:
                    raise SchemaMismatchError(f"{ref.table}: {ref.path} has {dict(frame.schema)}; declared {declared}")
                yield frame
    except (OSError, pa.ArrowException) as exc:
        raise StorageError(f"{ref.table}: {ref.path} cannot be read: {exc}; run `ctd {ref.stage} {ref.dataset}` again") from exc


def write_table_parts(run: RunRef, stage: str, table: Table, frames: Iterable[pl.DataFrame]) -> TableRef:
    """Write a table from frames that come one by one, holding one at a time.

    Raises:
        SchemaMismatchError: a frame's columns or types are not the table's.
        StorageError: the data root cannot be written.
    """
    path = table_path(run.root_path, run.run_id, stage, table.name)

    def write(target: Path) -> None:
        with _open_writer(target, table) as write_frame:
            for frame in frames:
                write_frame(frame)

    write_atomically(path, write)
    return table_ref(run, stage, table.name, path)


def write_tables_parts(
    run: RunRef, stage: str, tables: Sequence[Table], parts: Iterable[Mapping[str, pl.DataFrame]]
) -> tuple[TableRef, ...]:
    """Write several tables side by side from parts that come one by one, each with rows of every table.

    None takes its place before the last part is written. A kill while they are renamed leaves some new and some old ones in the
    run's folder, which no manifest names; the stage writes them all again.

    Raises:
        SchemaMismatchError: a frame's columns or types are not its table's.
        StorageError: the data root cannot be written.
    """
    paths = [table_path(run.root_path, run.run_id, stage, table.name) for table in tables]
    with fresh_files(*paths) as targets, ExitStack() as opened:
        writers = [opened.enter_context(_open_writer(target, table)) for target, table in zip(targets, tables, strict=True)]
        for part in parts:
            for table, write_frame in zip(tables, writers, strict=True):
                write_frame(part[table.name])
    return tuple(table_ref(run, stage, table.name, path) for table, path in zip(tables, paths, strict=True))


@contextmanager
def _open_writer(target: Path, table: Table) -> Iterator[Callable[[pl.DataFrame], None]]:
    schema = table.empty().to_arrow().schema
    with pq.ParquetWriter(target, schema, compression="zstd", compression_level=ZSTD_LEVEL) as writer:

        def write_frame(frame: pl.DataFrame) -> None:
            if frame.schema != table.schema:
                raise SchemaMismatchError(f"{table.name}: got {dict(frame.schema)}, declared {dict(table.schema)}")
            writer.write_table(frame.to_arrow().cast(schema))

        yield write_frame
