"""The compacted journal: Parquet parts of typed records, each whole or absent, read a row group at a time."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import StorageError
from schemas.fields import FIELDS
from schemas.tables import RAW_TRACES
from warehouse.journal_lines import KEY, Record, parse_record
from warehouse.parquet import ZSTD_LEVEL

Row = dict[str, Any]
"""A record that fits the columns: values converted, unknown ones left out."""

ROW_ONLY = ("dataset", "document_id", "split")
"""Columns of `raw_traces` that say whose row it is: documents of the same text share a record."""

COLUMNS = {name: FIELDS[name].dtype for name in RAW_TRACES.columns if name not in ROW_ONLY} | {"at_risk_usd": pl.Float64}

DEFAULTS = {"variant": "both", "asked_form": "json"}
"""What records mean that were written before these columns were."""

GROUP_ROWS = 1024
GROUP_BYTES = 8_000_000
"""A row group ends at either: what a read of scattered keys holds in memory at once."""

SOURCE_BYTES = b"journal_bytes"
"""In a part's footer: how long the JSON lines were that it was made from."""


class PartDiffersError(Exception):
    """A part is not what the lines say: it was not made from them, or was written wrongly."""


def fitted(record: Record) -> Row | None:
    """The record as a row of a part; null if a value has the wrong type, or there is no column for it."""
    row: Row = dict(DEFAULTS)
    try:
        for name, value in record.items():
            if value is not None:
                row[name] = _CONVERTERS[name](value)
    except (KeyError, ValueError, OverflowError):
        return None
    return row


def moment(value: object) -> datetime:
    """An ISO 8601 text with its time zone, as UTC.

    Raises:
        ValueError: it is none.
    """
    parsed = datetime.fromisoformat(_text(value))
    if parsed.tzinfo is None:
        raise ValueError(value)
    return parsed.astimezone(UTC)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _whole(bits: int) -> Callable[[object], int]:
    def convert(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not -(1 << bits) <= value < 1 << bits:
            raise ValueError(value)
        return value

    return convert


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


_BY_TYPE: dict[object, Callable[[object], Any]] = {
    pl.String: _text,
    pl.Int32: _whole(31),
    pl.Int64: _whole(63),
    pl.Float64: _number,
    FIELDS["asked_at"].dtype: moment,
}
_CONVERTERS = {name: _BY_TYPE[dtype] for name, dtype in COLUMNS.items()}
_SCHEMA = pl.DataFrame(schema=COLUMNS).to_arrow().schema


@dataclass(frozen=True)
class Part:
    """One Parquet file of records, oldest first; it is never changed."""

    path: Path

    @property
    def source_bytes(self) -> int | None:
        """Length of the JSON lines it was made from; null if it does not say."""
        with self._open() as file:
            length = (file.metadata.metadata or {}).get(SOURCE_BYTES, b"")
        return int(length) if length.isdigit() else None

    def keys(self) -> Iterator[str]:
        """The records' keys, in order.

        Raises:
            StorageError: the file is damaged.
        """
        for record in self.records((KEY,)):
            yield record[KEY]

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record]:
        """The records without their unknown values, as JSON lines hold them, in order.

        Raises:
            StorageError: the file is damaged.
        """
        with self._open() as file:
            present = None if columns is None else [name for name in columns if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                yield from _as_records(file.read_row_group(group, present, use_threads=False))

    def at(self, rows: Iterable[int]) -> Iterator[tuple[int, Record]]:
        """The records at these places, with them, a row group at a time.

        Raises:
            StorageError: the file is damaged.
        """
        with self._open() as file:
            counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            starts = [0, *accumulate(counts)]
            by_group: dict[int, list[int]] = {}
            for row in sorted(rows):
                by_group.setdefault(bisect_right(starts, row) - 1, []).append(row)
            for group, chosen in by_group.items():
                table = file.read_row_group(group, use_threads=False).take([row - starts[group] for row in chosen])
                yield from zip(chosen, _as_records(table), strict=True)

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self.path, pre_buffer=False, page_checksum_verification=True) as file:
                yield file
        except (OSError, pa.ArrowException) as exc:
            raise StorageError(
                f"{self.path}: cannot read this part of the journal: {exc}; put a copy back, or move it away: "
                "what it answered is then asked again"
            ) from exc


def _as_records(table: pa.Table) -> Iterator[Record]:
    columns = [_values(column) for column in table.columns]
    for values in zip(*columns, strict=True):
        yield DEFAULTS | {name: value for name, value in zip(table.column_names, values, strict=True) if value is not None}


def _values(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    # without its zone, which is UTC: Arrow needs a time zone database only to print zones
    texts = column.cast(pa.timestamp("us")).cast(pa.string()).to_pylist()
    return [text and f"{text.replace(' ', 'T')}Z" for text in texts]


def list_parts(folder: Path) -> list[Part]:
    """The parts of a folder, oldest first."""
    return [Part(path) for path in sorted(folder.glob("part-*.parquet"))]


def next_part_path(folder: Path) -> Path:
    """Where the next part is to stand."""
    last = max((int(part.path.stem.removeprefix("part-")) for part in list_parts(folder)), default=0)
    return folder / f"part-{last + 1:06d}.parquet"


def write_part(path: Path, rows: Iterable[tuple[Row, int]], source_bytes: int) -> int:
    """Write rows, each with its size in bytes, and return how many there were."""
    count = 0
    schema = _SCHEMA.with_metadata({SOURCE_BYTES: str(source_bytes)})
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=ZSTD_LEVEL, write_page_checksum=True) as writer:
        for group in _in_groups(rows):
            writer.write_table(pa.Table.from_pylist(group, schema), row_group_size=GROUP_ROWS)
            count += len(group)
    return count


def _in_groups(rows: Iterable[tuple[Row, int]]) -> Iterator[list[Row]]:
    group: list[Row] = []
    size = 0
    for row, row_bytes in rows:
        group.append(row)
        size += row_bytes
        if len(group) >= GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def movable(lines: Iterable[bytes]) -> Iterator[tuple[Row, int]]:
    """The rows that may move to a part, each with its size in bytes.

    A line that does not fit stays where it is, and with it every later one of its key: else the older would seem the newer.
    """
    staying: set[str] = set()
    for line in lines:
        record = parse_record(line)
        if record is None:
            continue
        row = fitted(record) if record[KEY] not in staying else None
        if row is None:
            staying.add(record[KEY])
        else:
            yield row, len(line)


def unmoved(part: Part, lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines that the part does not hold; read to the end, this is the proof that it holds all others.

    Raises:
        PartDiffersError: the part holds a record that is not among the lines, in their order.
        StorageError: the part is damaged.
    """
    rows = (fitted(record) for record in part.records())
    expected = next(rows, None)
    for line in lines:
        record = parse_record(line)
        if expected is not None and record is not None and fitted(record) == expected:
            expected = next(rows, None)
        else:
            yield line
    if expected is not None:
        raise PartDiffersError(part.path)
