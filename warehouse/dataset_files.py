"""Files of a dataset as it was received: found by any of their usual names, read line by line, plain or gzipped."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from schemas.errors import InputFormatError

LF_FILES = {
    "labels": ("lbl.json",),
    "train": ("trn.json",),
    "test": ("tst.json",),
    "filter_train": ("filter_labels_train.txt", "filter_labels_trn.txt"),
    "filter_test": ("filter_labels_test.txt", "filter_labels_tst.txt"),
}
"""Role -> names in use; each also with `.gz` (some mirrors drop it)."""


def find_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of the files, plain or gzipped, that is in the folder."""
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def require_file(folder: Path, role: str) -> Path:
    """The file of a role.

    Raises:
        InputFormatError: it is missing; names what was looked for and what is there.
    """
    path = find_file(folder, LF_FILES[role])
    if path is None:
        wanted = " or ".join(f"{name}[.gz]" for name in LF_FILES[role])
        there = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        raise InputFormatError(f"{folder}: the {role} file is missing; looked for {wanted}, found {there}")
    return path


def read_lines(path: Path) -> Iterator[bytes]:
    """Lines of a plain or gzipped file, as bytes, without holding the file in memory.

    Raises:
        InputFormatError: the file cannot be read, or its gzip stream is damaged or cut off.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as exc:
        raise InputFormatError(f"{path}: cannot be read to its end: {exc}; get the file again") from exc
