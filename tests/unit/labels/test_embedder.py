from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from schemas.errors import ConfigError
from tasks.labels import embedder
from tasks.labels.embedder import CachedEmbedder, hash_text, label_text, model_location


class MemoryStore:
    """A vector store that keeps everything in a dict."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def refresh(self) -> None:
        pass

    def missing(self, hashes: Sequence[str]) -> list[str]:
        return [h for h in dict.fromkeys(hashes) if h not in self.rows]

    def append(self, hashes: Sequence[str], vectors: Any) -> None:
        self.rows.update(zip(hashes, vectors, strict=True))

    def get(self, hashes: Sequence[str]) -> Any:
        return np.stack([self.rows[h] for h in hashes])


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts a counting encoder was given; its vector is the text's length."""
    seen: list[str] = []

    def load(*_: Any) -> Any:
        def encode(texts: list[str]) -> Any:
            seen.extend(texts)
            return np.array([[len(text), 1.0] for text in texts], np.float32)

        return encode

    monkeypatch.setattr(embedder, "_load_encoder", load)
    return seen


def test_embed_encodes_a_text_once_and_keeps_the_order(encoded: list[str]) -> None:
    found = CachedEmbedder("m", 32, 8, MemoryStore())
    assert found.embed(["bb", "a", "bb"])[:, 0].tolist() == [2, 1, 2]
    assert sorted(encoded) == ["a", "bb"]


def test_embed_encodes_only_texts_that_are_new(encoded: list[str]) -> None:
    found = CachedEmbedder("m", 32, 8, MemoryStore())
    found.embed(["a", "bb"])
    encoded.clear()
    found.embed(["ccc", "a"])
    assert encoded == ["ccc"]


def test_embed_refuses_vectors_that_are_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "_load_encoder", lambda *_: lambda texts: np.full((len(texts), 2), np.nan, np.float32))
    with pytest.raises(ConfigError, match="not finite"):
        CachedEmbedder("m", 32, 8, MemoryStore()).embed(["a"])


def test_hash_text_survives_lone_surrogates() -> None:
    assert hash_text("\ud800") != hash_text("\ud801")


def test_label_text_adds_a_description_only_where_there_is_one() -> None:
    assert (label_text("a", ""), label_text("a", "b")) == ("a", "a\nb")


def test_model_location_names_a_folder_that_is_missing() -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        model_location("/nowhere/model")
