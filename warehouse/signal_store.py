"""The teacher's signals by document, in files of some documents each: made once, out of core; read a document at a time.

A shard is a safetensors file that is whole or not there. It holds the arrays of its documents one after the other, and their
shapes; reading one document maps the file and copies that document's numbers only.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from schemas.errors import StorageError
from warehouse.atomic import write_atomically
from warehouse.layout import signal_dir

Array = NDArray[Any]  # half, single, whole numbers and truths, by name
Arrays = Mapping[str, Array]

SHARD_DOCUMENTS = 64
"""Documents of a shard: what a kill costs at most."""

OPEN_SHARDS = 256
"""Files that are mapped at once; a batch touches at most as many as it has documents."""

SHAPES = "/shapes"
"""After an array's name: its shape in each document."""
SHARED = "shared"

_map_file: Callable[..., Any] = safe_open  # its methods have no types
DIGEST = "sha256"


@dataclass(frozen=True)
class SignalStore:
    """Signals that were made from one thing, of documents 0 to `document_count`, as files of a folder."""

    folder: Path
    document_count: int

    @property
    def shards(self) -> tuple[range, ...]:
        """Documents of each shard."""
        starts = range(0, self.document_count, SHARD_DOCUMENTS)
        return tuple(range(start, min(start + SHARD_DOCUMENTS, self.document_count)) for start in starts)

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there or are damaged; every file is read once."""
        return [number for number, one in enumerate(self.shards) if not _is_whole(self._path(number), len(one))]

    def fill(self, make: Callable[[range], Sequence[Arrays]]) -> int:
        """Make what is missing, a shard at a time, and say how many shards that were; one shard is held in memory.

        Args:
            make: arrays of the documents of a range, in order; all documents have the same names, each of one dimension.

        Raises:
            StorageError: a shard cannot be written.
        """
        missing = self.missing()
        for number in missing:
            self._write(str(number), make(self.shards[number]))
        return len(missing)

    def take_shared(self, make: Callable[[], Arrays]) -> Arrays:
        """Arrays that all documents share, made if they are not there or are damaged.

        Raises:
            StorageError: they cannot be written.
        """
        path = self.folder / f"{SHARED}.safetensors"
        if not _is_whole(path, 1):
            self._write(SHARED, [make()])
        return _Shard(path).read(0, None)

    def read(self, documents: Iterable[int], names: Collection[str] | None = None) -> Iterator[Arrays]:
        """Arrays of some documents, in the order asked for.

        Args:
            documents: any of them, any number of times.
            names: which arrays; null: all.

        Raises:
            StorageError: a shard is missing or cannot be read.
        """
        for document in documents:
            number, place = divmod(document, SHARD_DOCUMENTS)
            yield _opened(self._path(number)).read(place, names)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.safetensors"

    def _write(self, name: str, documents: Sequence[Arrays]) -> None:
        tensors: dict[str, Array] = {}
        for key in documents[0]:
            arrays = [np.asarray(one[key]) for one in documents]
            spare = np.zeros(1, dtype=arrays[0].dtype)  # safetensors refuses an empty slice at the end
            tensors[key] = np.concatenate([*(one.ravel() for one in arrays), spare])
            tensors[key + SHAPES] = np.array([one.shape for one in arrays], dtype=np.int64)
        path = self.folder / f"{name}.safetensors"
        _opened.cache_clear()
        write_atomically(path, lambda temporary: save_file(tensors, temporary, {DIGEST: _digest(tensors.items())}))


def open_signals(root: Path, dataset: str, made_from: Iterable[str], document_count: int) -> SignalStore:
    """The signals made from exactly these texts: hashes of teacher, sequences and code, heads, tokens kept.

    Args:
        root: the data root.
        dataset: its name.
        made_from: what a change of makes other signals.
        document_count: how many documents have signals.
    """
    key = hashlib.sha256(json.dumps([*made_from, document_count, SHARD_DOCUMENTS]).encode()).hexdigest()
    return SignalStore(signal_dir(root, dataset, key[:32]), document_count)


class _Shard:
    """A mapped file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = _map_file(path, framework="numpy")
            names = self._file.keys()
            self.shapes = {name.removesuffix(SHAPES): self._file.get_tensor(name) for name in names if name.endswith(SHAPES)}
        except (OSError, SafetensorError) as exc:
            raise StorageError(f"signals {path} are missing or damaged ({exc}); run the stage again, they are made anew") from exc
        self.starts = {name: np.cumsum([0, *shapes.prod(axis=1)]) for name, shapes in self.shapes.items()}
        self._slices = {name: self._file.get_slice(name) for name in self.shapes}

    def read(self, place: int, names: Collection[str] | None) -> Arrays:
        """Arrays of the document at this place."""
        return {name: self._array(name, place) for name in (self.shapes if names is None else names)}

    def _array(self, name: str, place: int) -> Array:
        start, end = self.starts[name][place : place + 2]
        found: Array = self._slices[name][int(start) : int(end)]
        return found.reshape(self.shapes[name][place])

    def is_whole(self, document_count: int) -> bool:
        """True if what is in the file is what was written into it."""
        counts = {len(shapes) for shapes in self.shapes.values()}
        tensors = ((name, self._file.get_tensor(name)) for name in self._file.keys())  # noqa: SIM118 it is no dict
        return counts == {document_count} and (self._file.metadata() or {}).get(DIGEST) == _digest(tensors)


@lru_cache(maxsize=OPEN_SHARDS)
def _opened(path: Path) -> _Shard:
    return _Shard(path)


def _is_whole(path: Path, document_count: int) -> bool:
    try:
        return _Shard(path).is_whole(document_count)
    except (StorageError, SafetensorError):
        return False


def _digest(tensors: Iterable[tuple[str, Array]]) -> str:
    """SHA-256 in hex over arrays, in the order of their names."""
    parts = {name: hashlib.sha256(np.ascontiguousarray(values).data).hexdigest() for name, values in tensors}
    return hashlib.sha256(json.dumps(sorted(parts.items())).encode()).hexdigest()
