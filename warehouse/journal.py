"""The teacher's answers: JSON lines that are on disk before they count, and Parquet parts once they are many.

A kill at any byte loses at most the line that was being written; of two copies one is always whole.
"""

import fcntl
import json
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from schemas.errors import StorageError
from warehouse.atomic import storage_errors, sync_dir, write_atomically
from warehouse.journal_lines import KEY, Record, mend_tail, parse_record, write_all, write_file
from warehouse.journal_parts import (
    Part,
    PartDiffersError,
    list_parts,
    moment,
    movable,
    next_part_path,
    unmoved,
    write_part,
)
from warehouse.layout import lock_path, parts_dir

logger = logging.getLogger(__name__)

PART_SHIFT = 40
IDENTITY = (KEY, "asked_at", "attempt_count")
"""What tells two records of one key apart; records that agree in it are one."""


class Journal:
    """An open journal; one process has it at a time (`open_journal`), one thread at a time may use it."""

    def __init__(self, path: Path, handle: int, repaired_bytes: int = 0) -> None:
        """Take a file descriptor that is open for reading and writing; the journal's lock is held by the caller."""
        self.path = path
        self.repaired_bytes = repaired_bytes
        """Bytes of a line cut off by a kill that were removed when the journal was opened."""
        self._folder = parts_dir(path)
        self._parts = list_parts(self._folder)
        self._handle = handle
        self._end = os.fstat(handle).st_size
        self._line_count: int | None = None
        self._places: dict[bytes | str, int] | None = None

    @property
    def line_count(self) -> int:
        """Lines that are not compacted, damaged ones too."""
        if self._line_count is None:
            self._line_count = sum(1 for _ in self._lines())
        return self._line_count

    def entries(self, columns: Collection[str] | None = None) -> Iterator[Record]:
        """Every record ever stored, oldest first; damaged lines are skipped and reported by log.

        Args:
            columns: those that are needed at least; much is saved where records are compacted.

        Raises:
            StorageError: the journal cannot be read.
        """
        wanted = None if columns is None else tuple(dict.fromkeys((*IDENTITY, *columns)))
        is_alone = not self._parts or (len(self._parts) == 1 and not self._end)
        seen: set[int] = set()
        for record in (record for part in self._parts for record in part.records(wanted)):
            identity = None if is_alone else _identity(record)
            if identity is None or identity not in seen:
                yield record
            if identity is not None:
                seen.add(identity)
        damaged = 0
        for line in self._lines():
            line_record = parse_record(line)
            if line_record is None:
                damaged += 1
            elif is_alone or _identity(line_record) not in seen:
                yield line_record
        if damaged:
            logger.warning("%s: %d damaged lines skipped; what they answered is asked again", self.path, damaged)

    def read(self, wanted: Collection[str]) -> dict[str, str]:
        """The newest record of each wanted key, as JSON.

        Raises:
            StorageError: the journal cannot be read.
        """
        places = self._index()
        found = {place: key for key in wanted if (place := places.get(_short(key))) is not None}
        return self._read_lines(found) | self._read_parts(found)

    def _read_lines(self, found: dict[int, str]) -> dict[str, str]:
        lines = {}
        with storage_errors(self.path, "read"), self.path.open("rb") as file:
            for place in sorted(place for place in found if place >= 0):
                file.seek(place)
                lines[found[place]] = file.readline().decode().rstrip("\n")
        return lines

    def _read_parts(self, found: dict[int, str]) -> dict[str, str]:
        rows: dict[int, dict[int, str]] = {}
        for place, key in found.items():
            if place < 0:
                number, row = divmod(~place, 1 << PART_SHIFT)
                rows.setdefault(number, {})[row] = key
        return {
            chosen[row]: json.dumps(record, ensure_ascii=False, separators=(",", ":"))
            for number, chosen in rows.items()
            for row, record in self._parts[number].at(chosen)
        }

    def _index(self) -> dict[bytes | str, int]:
        """Key -> place: where its line begins, or for a row of a part the complement of part number and row."""
        if self._places is not None:
            return self._places
        places: dict[bytes | str, int] = {}
        for number, part in enumerate(self._parts):
            for row, key in enumerate(part.keys()):
                places[_short(key)] = ~(number << PART_SHIFT | row)
        begin = 0
        for line in self._lines():
            record = parse_record(line)
            if record is not None:
                places[_short(record[KEY])] = begin
            begin += len(line)
        self._places = places
        return places

    def _lines(self) -> Iterator[bytes]:
        with storage_errors(self.path, "read"), self.path.open("rb") as file:
            yield from file

    def append(self, lines: Sequence[str]) -> None:
        """Add lines and return once they are on disk; a write that fails leaves none of them.

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        self._add(lines, is_flushed=True)

    def write(self, lines: Sequence[str]) -> None:
        """Add lines that a kill of this process does not lose; a power cut may, until `flush` returns.

        Raises:
            StorageError: the disk is full or cannot be written; none of them is left.
        """
        self._add(lines, is_flushed=False)

    def flush(self) -> None:
        """Return once everything written is on disk; another thread may write meanwhile.

        Raises:
            StorageError: the disk does not take it.
        """
        with storage_errors(self.path, "flush"):
            os.fsync(self._handle)

    def _add(self, lines: Sequence[str], is_flushed: bool) -> None:
        encoded = [f"{line}\n".encode() for line in lines]
        with storage_errors(self.path, "append"):
            # what an earlier failure could not take back must not become the beginning of these lines
            os.ftruncate(self._handle, self._end)
            try:
                write_all(self._handle, b"".join(encoded), self._end)
                if is_flushed:
                    os.fsync(self._handle)
            except OSError:
                os.ftruncate(self._handle, self._end)
                raise
        self._note(encoded)

    def _note(self, lines: Sequence[bytes]) -> None:
        if self._line_count is not None:
            self._line_count += len(lines)
        for line in lines:
            record = parse_record(line) if self._places is not None else None
            if self._places is not None and record is not None:
                self._places[_short(record[KEY])] = self._end
            self._end += len(line)

    def compact(self) -> int:
        """Move the lines into a new Parquet part and return how many; a line that does not fit its columns stays.

        The lines go only once the part is on disk and was read back: every record of it is compared with its line.

        Raises:
            StorageError: the part cannot be written, or is not what the lines say; no line is lost.
        """
        part = Part(next_part_path(self._folder))
        moved = staying = 0

        def write(temporary: Path) -> None:
            nonlocal moved, staying
            moved = write_part(temporary, movable(self._lines()), self._end)
            staying = self._staying(Part(temporary))

        if next(movable(self._lines()), None) is None:
            return 0
        with storage_errors(self._folder, "write"):
            self._folder.mkdir(exist_ok=True)
            sync_dir(self._folder.parent)
        try:
            write_atomically(part.path, write)
        except PartDiffersError as exc:
            raise StorageError(f"{part.path}: was not written as it should be; the lines stay as they were, run again") from exc
        self._parts = list_parts(self._folder)
        self._drop_lines(part, staying)
        return moved

    def finish_compaction(self) -> None:
        """Remove the lines that the newest part already holds, if a compaction was killed between the two.

        Raises:
            StorageError: the journal cannot be read or written.
        """
        if not self._end or not self._parts or self._parts[-1].source_bytes != self._end:
            return
        try:
            staying = self._staying(self._parts[-1])
        except PartDiffersError:
            return
        self._drop_lines(self._parts[-1], staying)
        logger.warning("%s: a kill had stopped a compaction half-way; it is complete now", self.path)

    def _staying(self, part: Part) -> int:
        return sum(1 for _ in unmoved(part, self._lines()))

    def _drop_lines(self, part: Part, staying: int) -> None:
        if staying:
            write_atomically(self.path, lambda temporary: write_file(temporary, unmoved(part, self._lines())))
            with storage_errors(self.path, "open"):
                replaced, self._handle = self._handle, os.open(self.path, os.O_RDWR)
                os.close(replaced)
        else:
            with storage_errors(self.path, "empty"):
                os.ftruncate(self._handle, 0)
                os.fsync(self._handle)
        self._end = os.fstat(self._handle).st_size
        self._line_count, self._places = staying, None

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


def _short(key: str) -> bytes | str:
    """The key in half its space if it is a SHA-256 in hex."""
    try:
        raw = bytes.fromhex(key) if len(key) == 64 else b""
    except ValueError:
        return key
    return raw if raw.hex() == key else key


def _identity(record: Record) -> int:
    asked_at = record.get("asked_at")
    try:
        asked_at = moment(asked_at)
    except (ValueError, OverflowError):
        asked_at = repr(asked_at)
    # 64 bits are enough: among a million records two differing ones meet once in ten million journals
    return hash((record[KEY], asked_at, repr(record.get("attempt_count"))))


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open and lock the journal, making it if there is none, and mend what a kill left half-done.

    Raises:
        StorageError: another process has it open, or it cannot be read or written.
    """
    with ExitStack() as opened:
        with storage_errors(path, "open"):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(lock_path(path), os.O_RDWR | os.O_CREAT, 0o644)
        opened.callback(os.close, lock)
        _lock(path, lock)
        with storage_errors(path, "open"):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                sync_dir(path.parent)
                _remove_leftovers(path)
                repaired_bytes = mend_tail(path, handle)
            except BaseException:
                os.close(handle)
                raise
        journal = Journal(path, handle, repaired_bytes)
        opened.callback(journal.close)
        journal.finish_compaction()
        yield journal


def _lock(path: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise StorageError(
            f"{path}: another run is asking the teacher for this dataset; wait for it to end or stop it, then run again"
        ) from exc


def _remove_leftovers(path: Path) -> None:
    for leftover in (*parts_dir(path).glob("part-*.tmp-*"), *path.parent.glob(f"{path.name}.tmp-*")):
        leftover.unlink(missing_ok=True)
