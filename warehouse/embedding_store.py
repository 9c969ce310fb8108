"""Vectors by text hash: append-only Parquet parts of one embedder at one length, so a text is embedded once."""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import StorageError
from warehouse.atomic import write_atomically
from warehouse.layout import embedding_dir

Vectors = NDArray[np.float32]


class EmbeddingStore:
    """The cached vectors of one embedder; read whole at the first look-up, extended by whole parts."""

    def __init__(self, root: Path, embedder: str) -> None:
        """Open the store of `embedder` (name and length) below the data root."""
        self._dir = embedding_dir(root, embedder)
        self._rows: dict[str, int] = {}
        self._parts: list[Vectors] = []
        self._seen: set[Path] = set()
        self._count = 0

    def refresh(self) -> None:
        """Read the parts that were not read yet; other processes may have added some.

        Raises:
            StorageError: a part is damaged; delete it, its texts are embedded again.
        """
        for path in sorted(self._dir.glob("*.parquet")):
            if path in self._seen:
                continue
            try:
                part = pl.read_parquet(path)
                vectors = part["vector"].to_numpy().astype(np.float32, copy=False)
            except (pl.exceptions.PolarsError, OSError) as exc:
                raise StorageError(f"embedding cache {path} is damaged ({exc}); delete it, its texts are embedded again") from exc
            self._take(path, part["text_hash"].to_list(), vectors)

    def _take(self, path: Path, hashes: Sequence[str], vectors: Vectors) -> None:
        for offset, text_hash in enumerate(hashes):
            self._rows[text_hash] = self._count + offset
        self._count += len(hashes)
        self._parts.append(vectors)
        self._seen.add(path)

    def missing(self, hashes: Sequence[str]) -> list[str]:
        """The hashes that have no vector yet, each once, in order."""
        return [h for h in dict.fromkeys(hashes) if h not in self._rows]

    def append(self, hashes: Sequence[str], vectors: Vectors) -> None:
        """Store new vectors as one part, on disk before they are used.

        Raises:
            StorageError: the data root cannot be written.
        """
        path = self._dir / f"{uuid4().hex}.parquet"
        width = vectors.shape[1]
        part = pl.DataFrame({"text_hash": list(hashes), "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, width))})
        write_atomically(path, lambda p: part.write_parquet(p, compression="zstd", compression_level=1))
        self._take(path, hashes, vectors)

    def get(self, hashes: Sequence[str]) -> Vectors:
        """Vectors of the hashes, one row each, in order; every hash must be stored."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0][[self._rows[h] for h in hashes]]
