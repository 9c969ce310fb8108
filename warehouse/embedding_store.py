"""Vectors by text hash in one SQLite file an embedder: a text is embedded once, and nothing is held in memory."""

import hashlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.errors import StorageError
from warehouse.atomic import hash_file, storage_errors
from warehouse.layout import embedding_dir

Vectors = NDArray[np.float32]

FILE = "vectors.sqlite"
STORED = np.dtype("<f4")

PAGE_BYTES = 8192
"""Five vectors of 384 numbers fill a page to 96%; pages of 4,096 bytes hold two and make the file a quarter larger."""

ASKED_AT_ONCE = 512
"""Hashes in one query; SQLite's oldest limit is 999."""

WAIT_S = 60.0
"""How long a writer waits for another one; a write takes 20 ms."""

SCHEMA = f"""
pragma page_size = {PAGE_BYTES};
pragma journal_mode = wal;
create table vectors (hash blob primary key, vector blob not null);
"""

BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

CONTENT = {".json", ".txt", ".model", ".safetensors", ".py", ".bin"}
"""Files of a model folder that can change its vectors."""

UNUSED_DIRS = {"onnx", "openvino"}


class EmbeddingStore:
    """The cached vectors of one embedder at one length; several threads and processes may read and write.

    What `append` returned from survives a kill.
    """

    def __init__(self, root: Path, identity: str) -> None:
        """Take the store of an embedder below the data root; the file is made with the first vector."""
        self.identity = identity
        self._path = embedding_dir(root, identity) / FILE
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def missing(self, hashes: Sequence[str]) -> list[str]:
        """The hashes that have no vector yet, each once, in order.

        Args:
            hashes: SHA-256 digests in hex.

        Raises:
            StorageError: the file is damaged or cannot be read.
        """
        wanted = {bytes.fromhex(text_hash): text_hash for text_hash in hashes}
        if not self._path.exists():
            return list(wanted.values())
        with self._opened() as connection:
            for keys in _in_parts(list(wanted)):
                for (key,) in connection.execute(f"select hash from vectors where {_among(keys)}", keys):
                    del wanted[key]
        return list(wanted.values())

    def append(self, hashes: Sequence[str], vectors: Vectors) -> None:
        """Store vectors, all or none; those that are stored already stay as they are.

        Args:
            hashes: SHA-256 digests in hex.
            vectors: one row a hash.

        Raises:
            StorageError: the file is damaged or cannot be written.
        """
        if not self._path.exists():
            _create(self._path)
        blobs = (row.tobytes() for row in vectors.astype(STORED, copy=False))
        rows = zip((bytes.fromhex(text_hash) for text_hash in hashes), blobs, strict=True)
        with self._opened() as connection, connection:
            connection.execute("begin immediate")
            connection.executemany("insert or ignore into vectors values (?, ?)", rows)

    def get(self, hashes: Sequence[str]) -> Vectors:
        """Vectors of the hashes, one row each, in order: [hash, dimension].

        Args:
            hashes: SHA-256 digests in hex, at least one; every one is stored.

        Raises:
            StorageError: the file is damaged or cannot be read.
        """
        rows: dict[bytes, int] = {}
        numbers = [rows.setdefault(bytes.fromhex(text_hash), len(rows)) for text_hash in hashes]
        with self._opened() as connection:
            parts = [self._read(connection, keys) for keys in _in_parts(list(rows))]
        if len({part.shape[1] for part in parts}) > 1:
            raise StorageError(_damage(self._path, "its vectors differ in length"))
        found = np.concatenate(parts)
        return found if len(rows) == len(numbers) else found[numbers]

    def _read(self, connection: sqlite3.Connection, keys: list[bytes]) -> Vectors:
        stored = dict(connection.execute(f"select hash, vector from vectors where {_among(keys)}", keys))
        blobs = [stored[key] for key in keys]
        if len({len(blob) for blob in blobs}) > 1:
            raise StorageError(_damage(self._path, "its vectors differ in length"))
        return np.frombuffer(b"".join(blobs), STORED).reshape(len(keys), -1).astype(np.float32, copy=False)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                if self._connection is None:
                    self._connection = sqlite3.connect(self._path, timeout=WAIT_S, isolation_level=None, check_same_thread=False)
                    weakref.finalize(self, self._connection.close)
                yield self._connection
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode & 0xFF in BROKEN:
                raise StorageError(_damage(self._path, str(exc))) from exc
            raise StorageError(f"embedding cache {self._path}: {exc}; nothing stored before was changed") from exc


def _create(path: Path) -> None:
    """An empty store at `path`, made beside it, because two processes cannot switch one file to a write-ahead log at once."""
    new = path.with_name(f"{FILE}.new-{os.getpid()}-{threading.get_ident()}")
    with storage_errors(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(new)) as connection:
                connection.executescript(SCHEMA)
            os.link(new, path)
        except FileExistsError:
            return  # another process was faster
        except sqlite3.OperationalError as exc:
            raise StorageError(f"embedding cache {path}: {exc}; nothing stored before was changed") from exc
        finally:
            new.unlink(missing_ok=True)


def _in_parts(keys: list[bytes]) -> Iterator[list[bytes]]:
    return (keys[start : start + ASKED_AT_ONCE] for start in range(0, len(keys), ASKED_AT_ONCE))


def _among(keys: list[bytes]) -> str:
    return f"hash in ({','.join('?' * len(keys))})"


def _damage(path: Path, what: str) -> str:
    # the folder: a write-ahead log that stays behind would be read into the next file
    return f"embedding cache {path} is damaged ({what}); delete its folder, its texts are embedded again"


@cache
def model_digest(folder: Path) -> str:
    """The first 16 hex digits of SHA-256 over a model's weights, settings and tokenizer; read once a process.

    Files that cannot change a vector (other formats of the weights, pages, licences) do not count.
    """
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and _is_content(path, folder)):
        total.update(f"{file.relative_to(folder).as_posix()}\0{hash_file(file)}\n".encode())
    return total.hexdigest()[:16]


def _is_content(path: Path, folder: Path) -> bool:
    if path.suffix not in CONTENT or UNUSED_DIRS & set(path.relative_to(folder).parts):
        return False
    return path.suffix != ".bin" or not any(path.parent.glob("*.safetensors"))
