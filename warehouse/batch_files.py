"""OpenAI batch files: requests in files within its limits, results read line by line with distrust."""

import gzip
import json
import logging
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from schemas.errors import StorageError
from warehouse.atomic import fresh_dir, storage_errors

logger = logging.getLogger(__name__)

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
"""Limits of one file, as OpenAI and Azure state them (200 MB; the smaller reading of it)."""

MAX_LINE_BYTES = 64_000_000
"""A longer line is no answer, and would not be read into memory gladly."""

INPUT = re.compile(r"batch-\d{4,}\.input\.jsonl")
RESULTS = (".jsonl", ".jsonl.gz")
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class BatchLine:
    """One line of a result file: what it holds, or why it cannot be read."""

    file: str
    line_number: int
    content: Mapping[str, Any] | None  # a JSON object as somebody's server wrote it: each key has its own type
    problem: str | None = None


def write_batch_files(
    folder: Path, lines: Iterable[bytes | str], max_requests: int = MAX_REQUESTS, max_bytes: int = MAX_BYTES
) -> tuple[Path, ...]:
    """Write requests to `batch-0001.input.jsonl` and so on, all files or none; older input files are replaced.

    Args:
        folder: holds nothing but input files, or does not exist.
        lines: requests as JSON without line ends.
        max_requests: of one file.
        max_bytes: a file stays below.

    Raises:
        StorageError: the folder holds anything else, it cannot be written, or one request is larger than a file may be.
    """
    _refuse_other_files(folder)
    if any(folder.glob("*")):
        logger.warning(
            "%s: input files of an earlier writing are replaced; results of a batch sent from them stay usable", folder
        )
    names = []
    with fresh_dir(folder) as temporary:
        for number, part in enumerate(_in_files(lines, max_requests, max_bytes), 1):
            names.append(f"batch-{number:04d}.input.jsonl")
            with (temporary / names[-1]).open("wb") as file:
                file.writelines(part)
                file.flush()
                os.fsync(file.fileno())
        # results may have been put there meanwhile: the folder is about to be replaced
        _refuse_other_files(folder)
    return tuple(folder / name for name in names)


def _refuse_other_files(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder}: is a file; batch files need a folder: name another one")
    with storage_errors(folder, "read"):
        others = sorted(path.name for path in folder.glob("*") if not INPUT.fullmatch(path.name))
    if others:
        raise StorageError(
            f"{folder}: holds {len(others)} files that are no batch input, e.g. {others[0]!r}, and writing replaces the folder; "
            "read results with `ctd trace NAME --batch read`, move them to another folder, then write again"
        )


def _in_files(lines: Iterable[bytes | str], max_requests: int, max_bytes: int) -> Iterator[Iterator[bytes]]:
    """The lines of one file after the other; each must be read to its end before the next."""
    source = (_ended(line) for line in lines)
    waiting = next(source, None)

    def one_file() -> Iterator[bytes]:
        nonlocal waiting
        count = size = 0
        while waiting is not None and count < max_requests and size + len(waiting) < max_bytes:
            yield waiting
            count, size, waiting = count + 1, size + len(waiting), next(source, None)

    while waiting is not None:
        if len(waiting) >= max_bytes:
            raise StorageError(
                f"a request of {len(waiting)} bytes is larger than a batch file may be ({max_bytes}): {waiting[:120]!r}; "
                "leave its document out"
            )
        yield one_file()


def _ended(line: bytes | str) -> bytes:
    return (line.encode() if isinstance(line, str) else line) + b"\n"


def read_batch_results(folder: Path) -> Iterator[BatchLine]:
    """Every line of every result file in a folder: all `*.jsonl` and `*.jsonl.gz` that are no input; blank lines are left out.

    Raises:
        StorageError: there is no result file, or one may not be read; lines that are damaged are yielded as such.
    """
    with storage_errors(folder, "read"):
        files = sorted(path for path in folder.glob("*") if path.name.endswith(RESULTS) and ".input.jsonl" not in path.name)
    if not files:
        raise StorageError(
            f"{folder}: holds no results; put the output and error files of the batch there, under any name that ends in "
            ".jsonl or .jsonl.gz"
        )
    for path in files:
        yield from _read_file(path)


def _read_file(path: Path) -> Iterator[BatchLine]:
    number = 0
    with storage_errors(path, "read"), path.open("rb") as stored:
        try:
            with gzip.open(stored) if path.suffix == ".gz" else stored as file:
                for number, line in enumerate(_lines(file), 1):
                    if line.strip():
                        yield _read_line(path.name, number, line.removeprefix(BOM) if number == 1 else line)
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            problem = f"{path.name}, after line {number}: the file is cut off or damaged: {exc}; download it again"
            yield BatchLine(path.name, number + 1, None, problem)


def _lines(file: BufferedIOBase) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES + 1):
        yield line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES + 1)


def _read_line(name: str, number: int, line: bytes) -> BatchLine:
    try:
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"longer than {MAX_LINE_BYTES} bytes")
        content = _parse(line)
        if not isinstance(content, dict):
            raise ValueError(f"expected a JSON object, got {type(content).__name__}")
        if "body" in content and not {"response", "error"} & content.keys():
            raise ValueError("it is a request, not a result")
    except (ValueError, RecursionError) as exc:
        return BatchLine(name, number, None, f"{name}, line {number}: cannot be read: {exc}")
    return BatchLine(name, number, content)


def _parse(line: bytes) -> object:
    try:
        return from_json(line)
    except ValueError:
        # half a character of two, as some servers cut their text, is valid JSON but no text: it becomes a question mark
        return from_json(json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace"))
