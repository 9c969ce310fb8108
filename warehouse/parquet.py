"""Tables on disk: read what a `TableRef` names, write what a `Table` allows."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from schemas.errors import SchemaMismatchError, StorageError
from schemas.refs import ArtifactRef, RunRef, TableRef
from schemas.tables import TABLES, Table
from warehouse.atomic import hash_dir, hash_file, write_atomically
from warehouse.layout import table_path

ZSTD_LEVEL = 3
"""Level 3 is within 5% of level 9's size at a fifth of its time (measured on traces)."""


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


def write_table_parts(run: RunRef, stage: str, table: Table, frames: Iterable[pl.DataFrame]) -> TableRef:
    """Write a table from frames that come one by one, holding one at a time.

    Raises:
        SchemaMismatchError: a frame's columns or types are not the table's.
        StorageError: the data root cannot be written.
    """
    path = table_path(run.root_path, run.run_id, stage, table.name)

    def write(target: Path) -> None:
        schema = table.empty().to_arrow().schema
        with pq.ParquetWriter(target, schema, compression="zstd", compression_level=ZSTD_LEVEL) as writer:
            for frame in frames:
                if frame.schema != table.schema:
                    raise SchemaMismatchError(f"{table.name}: got {dict(frame.schema)}, declared {dict(table.schema)}")
                writer.write_table(frame.to_arrow().cast(schema))

    write_atomically(path, write)
    return table_ref(run, stage, table.name, path)
