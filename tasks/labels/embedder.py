"""Texts to unit vectors: any sentence embedder, loaded when a text is new, each text encoded once and stored by its hash."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError
from tasks.labels.encoder import Encoder, Precision, load_encoder

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
Progress = Callable[[int, int], None]
CHUNK = 512
"""Texts between two writes of the cache: a kill loses at most so many."""

BLOCK = 8192
"""Texts sorted by token count together. Batches of 64 then hold .4% padding; sorted in groups of 512: 6%, of 65,536: .1%, by
characters in place of tokens: 37% (63,436 labels of 21 tokens on average)."""


class VectorStore(Protocol):
    """What the embedder needs of a cache; `warehouse.embedding_store.EmbeddingStore` is one."""

    identity: str

    def missing(self, hashes: Sequence[str]) -> list[str]:
        """The hashes without a vector, each once, in order."""

    def append(self, hashes: Sequence[str], vectors: Vectors) -> None:
        """Store vectors."""

    def get(self, hashes: Sequence[str]) -> Vectors:
        """Vectors in order."""


def hash_text(text: str) -> str:
    """SHA-256 of a text, in hex: the key of its vector."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def label_text(name: str, description: str) -> str:
    """The text of a label that is embedded: its name, and its description if it has one."""
    return f"{name}\n{description}" if description else name


def embedder_identity(model: str, digest: str, token_count: int, precision: Precision = "float32") -> str:
    """What vectors depend on: the content of the model's folder, the length texts are cut to, the numbers computed with.

    Args:
        model: `embed.model`; only its last part is named, so a folder that moves keeps its vectors.
        digest: hash of the folder's content.
        token_count: tokens.
        precision: form of the numbers.
    """
    return f"{Path(model).name}-{digest}-{token_count}" + ("" if precision == "float32" else f"-{precision}")


class CachedEmbedder:
    """Unit vectors of texts; the model is loaded only when a text is new to the store."""

    def __init__(
        self, model: str, token_count: int, batch_size: int, store: VectorStore, precision: Precision = "float32"
    ) -> None:
        """Prepare an embedder that cuts texts to `token_count` tokens; nothing is loaded yet."""
        self.model = model
        self.token_count = token_count
        self._precision = precision
        self._batch_size = batch_size
        self.store = store
        self._encoder: Encoder | None = None

    @property
    def identity(self) -> str:
        """What the vectors depend on: equal identities give equal vectors."""
        return self.store.identity

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> Vectors:
        """Unit vectors, float32, one row a text, in order; `progress(done, total)` counts the new texts.

        Raises:
            ConfigError: the model cannot be loaded, or gives vectors that are not finite.
            StorageError: the cache cannot be read or written.
        """
        blocks = list(self.embed_blocks(texts, progress=progress))
        return np.concatenate(blocks) if blocks else np.zeros((0, 0), np.float32)

    def embed_blocks(self, texts: Iterable[str], block: int = BLOCK, progress: Progress | None = None) -> Iterator[Vectors]:
        """The same a block of texts at a time, in order; memory does not grow with their number.

        Args:
            texts: a sequence, or any iterable.
            block: texts in a block, which are sorted by length and encoded together.
            progress: told (done, total) new texts; of an iterable of unknown length total is done.

        Raises:
            ConfigError: the model cannot be loaded, or gives vectors that are not finite.
            StorageError: the cache cannot be read or written.
        """
        started, seen, done = time.monotonic(), 0, 0
        total = self._count_new(texts, block) if progress and isinstance(texts, Sequence) else 0
        for part in _blocks(texts, block):
            hashes = [hash_text(text) for text in part]
            for count in self._store_new(dict(zip(hashes, part, strict=True))):
                done += count
                if progress:
                    progress(done, max(total, done))
            seen += len(part)
            yield self.store.get(hashes)
        if done:
            logger.info("embedded %d texts in %.1f s (%d were cached)", done, time.monotonic() - started, seen - done)

    def _count_new(self, texts: Sequence[str], block: int) -> int:
        """How many texts have no vector, equal ones once; 8 bytes each are held."""
        keys = [np.zeros(0, np.uint64)]
        for part in _blocks(texts, block):
            missing = self.store.missing([hash_text(text) for text in part])
            keys.append(np.array([int(text_hash[:16], 16) for text_hash in missing], np.uint64))
        return len(np.unique(np.concatenate(keys)))

    def _store_new(self, texts: dict[str, str]) -> Iterator[int]:
        """Encode the texts (by hash) that have no vector, longest first, and store them; how many, a chunk at a time."""
        missing = self.store.missing(list(texts))
        if not missing:
            return
        self._encoder = self._encoder or load_encoder(self.model, self.token_count, self._batch_size, self._precision)
        lengths = self._encoder.lengths([texts[text_hash] for text_hash in missing])
        ordered = [missing[row] for row in np.argsort(-lengths, kind="stable")]
        for start in range(0, len(ordered), CHUNK):
            chunk = ordered[start : start + CHUNK]
            vectors = self._encoder.encode([texts[text_hash] for text_hash in chunk])
            if not np.isfinite(vectors).all():
                raise ConfigError(f"embed.model = {self.model!r} gives vectors that are not finite; use another model")
            self.store.append(chunk, vectors)
            yield len(chunk)


def _blocks(texts: Iterable[str], block: int) -> Iterator[list[str]]:
    left = iter(texts)
    while part := list(islice(left, block)):
        yield part
