"""Vectors of texts that are tagged: what the data root knows is taken, what is new is not kept there."""

from collections.abc import Sequence

import numpy as np

from tasks.labels.embedder import Vectors, VectorStore


class PassingStore:
    """A store for one part of a file: reads from the one behind it, and holds new vectors in memory until it is emptied."""

    def __init__(self, behind: VectorStore) -> None:
        """Read from `behind`, and never write there: a file of a million texts would take 1.5 GB."""
        self.identity = behind.identity
        self._behind = behind
        self._held: dict[str, Vectors] = {}

    def missing(self, hashes: Sequence[str]) -> list[str]:
        """The hashes without a vector here or behind, each once, in order."""
        return self._behind.missing([text_hash for text_hash in hashes if text_hash not in self._held])

    def append(self, hashes: Sequence[str], vectors: Vectors) -> None:
        """Hold vectors."""
        self._held |= dict(zip(hashes, vectors, strict=True))

    def get(self, hashes: Sequence[str]) -> Vectors:
        """Vectors in order."""
        known = [text_hash for text_hash in dict.fromkeys(hashes) if text_hash not in self._held]
        found = self._held | (dict(zip(known, self._behind.get(known), strict=True)) if known else {})
        return np.stack([found[text_hash] for text_hash in hashes])

    def empty(self) -> None:
        """Let go of what is held."""
        self._held.clear()
