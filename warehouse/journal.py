"""The teacher's answers: append-only JSON lines, on disk before they count. A kill at any byte loses one line at most."""

import fcntl
import json
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import StorageError
from warehouse.atomic import storage_errors, sync_dir

logger = logging.getLogger(__name__)

KEY = "request_hash"
"""Every line is a JSON object that holds its key under this name; of lines with one key the last counts."""

TAIL_BLOCK = 1 << 16


class Journal:
    """An open journal; one process has it at a time (`open_journal`)."""

    def __init__(self, path: Path, handle: int) -> None:
        """Take a file descriptor that is open for reading and writing, and locked."""
        self.path = path
        self._handle = handle

    def read(self, wanted: Collection[str]) -> dict[str, str]:
        """The newest line of each wanted key; damaged lines are skipped and reported by log.

        Raises:
            StorageError: the file cannot be read.
        """
        found: dict[str, str] = {}
        damaged = 0
        with storage_errors(self.path, "read"), self.path.open("rb") as file:
            for line in file:
                key = _key_of(line)
                damaged += key is None
                if key in wanted and key is not None:
                    found[key] = line.decode().rstrip("\n")
        if damaged:
            logger.warning("%s: %d damaged lines skipped; what they answered is asked again", self.path, damaged)
        return found

    def append(self, lines: Sequence[str]) -> None:
        """Add lines and return once they are on disk; a write that fails leaves none of them.

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        with storage_errors(self.path, "append"):
            end = os.lseek(self._handle, 0, os.SEEK_END)
            try:
                _write_all(self._handle, "".join(f"{line}\n" for line in lines).encode())
                os.fsync(self._handle)
            except OSError:
                os.ftruncate(self._handle, end)
                raise


def _write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _key_of(line: bytes) -> str | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    key = content.get(KEY) if isinstance(content, dict) else None
    return key if isinstance(key, str) else None


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open and lock the journal, making it if there is none; a line that was cut off by a kill is removed.

    Raises:
        StorageError: another process has it open, or it cannot be read or written.
    """
    with storage_errors(path, "open"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(path, handle)
        with storage_errors(path, "mend"):
            sync_dir(path.parent)
            _cut_torn_tail(path, handle)
        yield Journal(path, handle)
    finally:
        os.close(handle)


def _lock(path: Path, handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise StorageError(
            f"{path}: another run is asking the teacher for this dataset; wait for it to end or stop it, then run again"
        ) from exc


def _cut_torn_tail(path: Path, handle: int) -> None:
    end = os.lseek(handle, 0, os.SEEK_END)
    keep = _last_line_end(handle, end)
    if keep == end:
        return
    logger.warning("%s: the last line was cut off by a kill; %d bytes removed, its request is asked again", path, end - keep)
    os.ftruncate(handle, keep)
    os.fsync(handle)


def _last_line_end(handle: int, end: int) -> int:
    while end > 0:
        start = max(0, end - TAIL_BLOCK)
        newline = os.pread(handle, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
