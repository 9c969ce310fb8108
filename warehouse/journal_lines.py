"""Records as JSON lines: what a line is, and what a kill may leave at the end of a file of them."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic_core import from_json

logger = logging.getLogger(__name__)

Record = dict[str, Any]
"""A record as JSON holds it: each column has its own type."""

KEY = "request_hash"
"""Every record holds its key under this name; of records with one key the last counts."""

TAIL_BLOCK = 1 << 16


def parse_record(line: bytes) -> Record | None:
    """The record of a JSON line; null if it is damaged: no JSON object in UTF-8, or without a key."""
    try:
        record = from_json(line, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get(KEY), str) else None


def write_all(handle: int, content: bytes, begin: int) -> None:
    """Write bytes at a place of a file, however many calls it takes.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, begin)
        view, begin = view[written:], begin + written


def write_file(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines, each with its end, to a file of their own."""
    with path.open("wb") as file:
        file.writelines(lines)


def mend_tail(path: Path, handle: int) -> int:
    """Bytes of a line cut off at the end, which is removed; a line that lacks only its end of line is kept.

    Raises:
        OSError: the file cannot be read or written.
    """
    end = os.fstat(handle).st_size
    keep = _last_line_end(handle, end)
    if keep == end:
        return 0
    if parse_record(os.pread(handle, end - keep, keep)) is not None:
        os.pwrite(handle, b"\n", end)
        keep = end + 1
    else:
        logger.warning("%s: the last line was cut off by a kill; %d bytes removed, its request is asked again", path, end - keep)
        os.ftruncate(handle, keep)
    os.fsync(handle)
    return max(0, end - keep)


def _last_line_end(handle: int, end: int) -> int:
    while end > 0:
        start = max(0, end - TAIL_BLOCK)
        newline = os.pread(handle, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
