"""Outputs appear whole or not at all: write beside, flush to disk, rename."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import StorageError


def sync_dir(path: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def storage_errors(path: Path, action: str) -> Iterator[None]:
    """Turn an operating system error on `path` into ours, with what to do.

    Raises:
        StorageError: the block raised OSError.
    """
    try:
        yield
    except OSError as exc:
        raise StorageError(f"{path}: cannot {action}: {exc.strerror or exc}; nothing stored before was changed") from exc


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, flush the file, and rename it to `path`.

    Raises:
        StorageError: the folder cannot be written, or the disk is full; an older file at `path` stays as it was.
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with storage_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_dir(path.parent)


@contextmanager
def fresh_files(*paths: Path) -> Iterator[list[Path]]:
    """A temporary path for each of these paths of one folder; all take their places when the block ends without an error.

    They are flushed before the first is renamed. What a killed process left of them is removed.

    Raises:
        StorageError: the folder cannot be written, or the disk is full; what stood at the paths stays as it was.
    """
    folder = paths[0].parent
    temporaries = [path.with_name(f"{path.name}.tmp-{os.getpid()}") for path in paths]
    with storage_errors(folder, "write"):
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            for stale in folder.glob(f"{path.name}.tmp-*"):
                stale.unlink()
        try:
            yield temporaries
            for temporary in temporaries:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            for temporary, path in zip(temporaries, paths, strict=True):
                temporary.replace(path)
        finally:
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)
        sync_dir(folder)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole small file atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


@contextmanager
def fresh_dir(path: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` when the block ends without an error.

    Raises:
        StorageError: the folder cannot be written; what stood at `path` stays as it was.
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with storage_errors(path, "write"):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            if path.exists():
                stale = path.with_name(f"{path.name}.old-{os.getpid()}")
                path.rename(stale)
                temporary.rename(path)
                shutil.rmtree(stale)
            else:
                temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        sync_dir(path.parent)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_dir(path: Path) -> str:
    """SHA-256 over the names and contents of all files below a folder, in hex."""
    total = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{hash_file(file)}\n".encode())
    return total.hexdigest()
