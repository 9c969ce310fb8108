"""The output of tagging: parts beside the target while it is made, then the target, its skipped rows and its record at once."""

import fcntl
import glob
import gzip
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.errors import ConfigError, StorageError
from warehouse.atomic import fresh_files, hash_file, storage_errors, write_atomically
from warehouse.text_files import FileFormat

SHOWN_KEY = 16
"""Hex digits of the key in the name of the folder of parts."""

ZSTD_LEVEL = 3


class TagRecord(BaseModel):
    """What a finished output was made from; the same key makes the same output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    student: str
    dataset: str
    label_count: int
    source: str
    source_hash: str
    settings: dict[str, str | int | float | None]
    document_count: int
    row_count: int
    skipped: dict[str, int]
    target_hash: str


class TagFiles:
    """All files of one output: `TARGET`, `TARGET.skipped.jsonl`, `TARGET.tagged.json`, and the parts until it is whole."""

    def __init__(self, target: Path, form: FileFormat, key: str) -> None:
        """Name the files; nothing is written."""
        self.target = target
        self.skipped = target.with_name(f"{target.name}.skipped.jsonl")
        self.record = target.with_name(f"{target.name}.tagged.json")
        self._form = form
        self.key = key
        self._parts = target.with_name(f"{target.name}.parts-{key[:SHOWN_KEY]}")
        self._is_gzipped = target.name.lower().endswith(".gz")

    def finished(self) -> TagRecord | None:
        """The record of the output, if it stands there whole and was made from exactly this."""
        found = read_record(self.target)
        return found if found is not None and found.key == self.key and self.skipped.is_file() else None

    def refuse_other(self, is_overwriting: bool) -> None:
        """Refuse to replace a file, unless that is wanted.

        Raises:
            ConfigError: something else stands at the target.
        """
        if self.target.is_dir():
            raise ConfigError(f"{self.target}: is a folder; name a file")
        if self.target.exists() and not is_overwriting:
            what = "was made from something else" if read_record(self.target) else "is not, or no longer, what `ctd tag` wrote"
            raise ConfigError(f"{self.target}: exists and {what}; name another file, or give --overwrite")

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the target: parts of other keys are removed, and no other process may make it meanwhile.

        Raises:
            StorageError: another process makes it, or the folder cannot be written.
        """
        lock = self.target.with_name(f"{self.target.name}.lock")
        with storage_errors(self.target, "write"):
            lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        with closing_handle(handle):
            _hold(handle, self.target)
            with storage_errors(self._parts, "write"):
                for stale in self.target.parent.glob(f"{glob.escape(self.target.name)}.parts-*"):
                    if stale != self._parts:
                        shutil.rmtree(stale)
                self._parts.mkdir(exist_ok=True)
            try:
                yield
            finally:
                if not self._parts.exists():  # nothing to go on with
                    lock.unlink(missing_ok=True)

    def note_skipped(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Write the rows that cannot be tagged among the parts, as JSON lines."""

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)

        write_atomically(self._parts / "skipped.jsonl", write)

    def discard(self) -> None:
        """Remove the parts."""
        with storage_errors(self._parts, "remove"):
            shutil.rmtree(self._parts)

    def part_rows(self, number: int) -> int | None:
        """Rows of a part that is there whole, or None."""
        try:
            return int(pq.read_metadata(self._part(number)).num_rows)
        except (OSError, pa.ArrowException):
            return None

    def write_part(self, number: int, rows: pl.DataFrame) -> None:
        """Keep a part: a kill after this loses none of it."""
        write_atomically(
            self._part(number), lambda path: rows.write_parquet(path, compression="zstd", compression_level=ZSTD_LEVEL)
        )

    def _part(self, number: int) -> Path:
        return self._parts / f"part-{number:06d}.parquet"

    def publish(self, part_count: int, schema: pl.Schema, record: TagRecord) -> TagRecord:
        """Put the parts together; record, skipped rows and target take their places, then the parts go.

        Raises:
            StorageError: the folder cannot be written, or the disk is full; what stood at the target stays.
        """
        with fresh_files(self.record, self.skipped, self.target) as (record_path, skipped_path, target_path):
            shutil.copyfile(self._parts / "skipped.jsonl", skipped_path)
            parts = (self._part(number) for number in range(part_count))
            self._write(target_path, parts, schema)
            whole = record.model_copy(update={"target_hash": hash_file(target_path)})
            record_path.write_text(whole.model_dump_json(indent=2), encoding="utf-8")
        self.discard()
        return whole

    def _write(self, path: Path, parts: Iterable[Path], schema: pl.Schema) -> None:
        if self._form == "parquet":
            arrow = pl.DataFrame(schema=schema).to_arrow().schema
            with pq.ParquetWriter(path, arrow, compression="zstd", compression_level=ZSTD_LEVEL) as writer:
                for part in parts:
                    writer.write_table(pl.read_parquet(part).to_arrow().cast(arrow))
            return
        with path.open("wb") as raw, _packed(raw, self._is_gzipped) as file:
            if self._form == "csv":
                file.write((",".join(schema) + "\n").encode())
            for part in parts:
                frame = pl.read_parquet(part)
                text = frame.write_ndjson() if self._form == "jsonl" else frame.write_csv(include_header=False)
                file.write(text.encode())


def read_record(target: Path) -> TagRecord | None:
    """The record of an output that is still as it was written, or None."""
    path = target.with_name(f"{target.name}.tagged.json")
    try:
        record = TagRecord.model_validate_json(path.read_bytes())
        return record if hash_file(target) == record.target_hash else None
    except (OSError, ValidationError):
        return None


@contextmanager
def closing_handle(handle: int) -> Iterator[None]:
    """Close a file handle at the end; a lock on it is given up with it, as in a kill."""
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def _packed(raw: IO[bytes], is_gzipped: bool) -> Iterator[IO[bytes]]:
    if not is_gzipped:
        yield raw
        return
    with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as file:  # no time and name: equal tags, equal bytes
        yield cast(IO[bytes], file)


def _hold(handle: int, target: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise StorageError(f"{target}: another process is making it; wait for it to end") from exc
