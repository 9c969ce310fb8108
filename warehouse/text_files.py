"""Files of texts as somebody sends them: Parquet, JSON lines and CSV, the latter two also gzipped, read as a stream of rows."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import from_json

from schemas.errors import ConfigError, InputFormatError

if TYPE_CHECKING:
    import _csv

FileFormat = Literal["parquet", "jsonl", "csv"]
SUFFIXES: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".csv.gz": "csv",
}

MAX_LINE_BYTES = 64_000_000
"""A longer line, or CSV field, is no text, and would not be read into memory gladly."""

BATCH_ROWS = 256
"""Rows of a Parquet file held at a time."""

SNIFFED_OBJECTS = 100
"""Lines of a JSON lines file whose keys are its columns."""

READ_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class RawRow:
    """One row: its line from 1, its values by column, or what is wrong with all of it."""

    line_number: int
    values: Mapping[str, object]
    problem: str | None = None


def file_format(path: Path, given: str | None, option: str) -> FileFormat:
    """The format that is asked for, or that of the file's name.

    Raises:
        ConfigError: it is none of the three.
    """
    known = ", ".join(sorted(SUFFIXES))
    if given is not None:
        if given not in SUFFIXES.values():
            raise ConfigError(f"{option} {given!r}: allowed are parquet, jsonl and csv")
        return cast(FileFormat, given)
    name = path.name.lower()
    for suffix, found in SUFFIXES.items():
        if name.endswith(suffix):
            return found
    raise ConfigError(f"{path}: its name says no format (known: {known}); rename it or give {option}")


def column_names(path: Path, form: FileFormat) -> tuple[str, ...]:
    """The columns of a file; of JSON lines all keys of the first objects.

    Raises:
        InputFormatError: it cannot be read as this format.
    """
    with _read_errors(path, form):
        if form == "parquet":
            with pq.ParquetFile(path) as file:
                return tuple(file.schema_arrow.names)
        if form == "csv":
            with _open_text(path) as text:
                return _header(_reader(text), path)
        names: dict[str, None] = {}
        for row, _ in zip(
            (row for row in read_rows(path, form, None) if row.problem is None), range(SNIFFED_OBJECTS), strict=False
        ):
            names |= dict.fromkeys(row.values)
        return tuple(names)


def read_rows(path: Path, form: FileFormat, columns: Sequence[str] | None) -> Iterator[RawRow]:
    """The rows of a file in order, one at a time; blank lines are left out, broken ones say what is wrong.

    Args:
        path: the file.
        form: its format.
        columns: the columns that are read; None: all.

    Raises:
        InputFormatError: it cannot be read to its end.
    """
    read = {"parquet": _parquet_rows, "jsonl": _json_rows, "csv": _csv_rows}[form]
    with _read_errors(path, form):
        yield from read(path, columns)


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> Iterator[RawRow]:
    line = 0
    with pq.ParquetFile(path, buffer_size=READ_BYTES) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=None if columns is None else list(columns)):
            for values in batch.to_pylist():
                line += 1
                yield RawRow(line, values)


def _json_rows(path: Path, columns: Sequence[str] | None) -> Iterator[RawRow]:
    for line, raw in enumerate(_lines(path), 1):
        content = raw.removeprefix(BOM) if line == 1 else raw
        if len(content) >= MAX_LINE_BYTES:
            yield RawRow(line, {}, f"longer than {MAX_LINE_BYTES} bytes: {content[:80]!r}")
        elif content.strip():
            yield _json_row(line, content, columns)


def _json_row(line: int, content: bytes, columns: Sequence[str] | None) -> RawRow:
    try:
        value = from_json(content)
    except ValueError as exc:
        return RawRow(line, {}, f"not JSON ({exc}): {content[:80]!r}")
    if not isinstance(value, dict):
        return RawRow(line, {}, f"not a JSON object: {content[:80]!r}")
    return RawRow(line, value if columns is None else {name: value[name] for name in columns if name in value})


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a plain or gzipped file; of one that is too long only its beginning."""
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            yield line
            while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)


def _csv_rows(path: Path, columns: Sequence[str] | None) -> Iterator[RawRow]:
    with _open_text(path) as text:
        reader = _reader(text)
        header = _header(reader, path)
        wanted = [(name, header.index(name)) for name in (columns if columns is not None else header)]
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as exc:
                yield RawRow(line, {}, f"not CSV ({exc})")
                continue
            if fields and len(fields) != len(header):
                yield RawRow(line, {}, f"{len(fields)} fields, the header has {len(header)}")
            elif fields:
                yield RawRow(line, {name: fields[place] for name, place in wanted})


def _header(reader: Iterator[list[str]], path: Path) -> tuple[str, ...]:
    names = tuple(next(reader, []))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputFormatError(f"{path}: the header names {', '.join(map(repr, twice))} twice; rename one")
    return names


def _reader(text: IO[str]) -> "_csv.Reader":
    csv.field_size_limit(MAX_LINE_BYTES)  # of the whole process: the module has no other
    return csv.reader(text, strict=True)


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    """The file as text with its own line ends; bytes that are not UTF-8 become lone surrogates, which a reader can see."""
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
        yield io.TextIOWrapper(cast(IO[bytes], file), encoding="utf-8-sig", errors="surrogateescape", newline="")


@contextmanager
def _read_errors(path: Path, form: FileFormat) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException) as exc:
        raise InputFormatError(f"{path}: cannot be read to its end as {form}: {exc}; get it again, or give --format") from exc
