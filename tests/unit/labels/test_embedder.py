from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from schemas.errors import ConfigError
from tasks.labels import embedder
from tasks.labels.embedder import CachedEmbedder, embedder_identity, hash_text, label_text
from tasks.labels.encoder import Encoder, model_location


class MemoryStore:
    """A vector store that keeps everything in a dict."""

    def __init__(self) -> None:
        self.identity = "m-32"
        self.rows: dict[str, Any] = {}

    def missing(self, hashes: Sequence[str]) -> list[str]:
        return [h for h in dict.fromkeys(hashes) if h not in self.rows]

    def append(self, hashes: Sequence[str], vectors: Any) -> None:
        self.rows.update(zip(hashes, vectors, strict=True))

    def get(self, hashes: Sequence[str]) -> Any:
        return np.stack([self.rows[h] for h in hashes])


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The lists of texts a counting encoder was given; a text's vector is its number of words, which is also its length."""
    seen: list[list[str]] = []

    def encode(texts: list[str]) -> Any:
        seen.append(texts)
        return np.array([[len(text.split()), 1.0] for text in texts], np.float32)

    encoder = Encoder(encode, lambda texts: np.array([len(text.split()) for text in texts]))
    monkeypatch.setattr(embedder, "load_encoder", lambda *_: encoder)
    return seen


def test_embed_encodes_a_text_once_and_keeps_the_order(encoded: list[list[str]]) -> None:
    found = CachedEmbedder("m", 32, 8, MemoryStore())
    assert found.embed(["b b", "a", "b b"])[:, 0].tolist() == [2, 1, 2]
    assert encoded == [["b b", "a"]]


def test_embed_encodes_only_texts_that_are_new(encoded: list[list[str]]) -> None:
    found = CachedEmbedder("m", 32, 8, MemoryStore())
    found.embed(["a", "b b"])
    found.embed(["c c c", "a"])
    assert encoded == [["b b", "a"], ["c c c"]]


def test_embed_of_no_text_is_empty(encoded: list[list[str]]) -> None:
    assert CachedEmbedder("m", 32, 8, MemoryStore()).embed([]).shape == (0, 0)
    assert encoded == []


def test_embed_blocks_sorts_a_block_by_tokens_and_not_by_characters(encoded: list[list[str]]) -> None:
    texts = ["incomprehensibilities", "a b c", "characteristically", "d e"]
    blocks = list(CachedEmbedder("m", 32, 8, MemoryStore()).embed_blocks(texts, block=3))
    assert [block[:, 0].tolist() for block in blocks] == [[1, 3, 1], [2]]
    assert encoded == [["a b c", "incomprehensibilities", "characteristically"], ["d e"]]


def test_embed_blocks_reads_an_iterable_no_further_than_it_was_asked(encoded: list[list[str]]) -> None:
    read = []

    def texts() -> Iterator[str]:
        for text in ("a", "b", "c", "d"):
            read.append(text)
            yield text

    blocks = CachedEmbedder("m", 32, 8, MemoryStore()).embed_blocks(texts(), block=2)
    assert next(blocks).shape == (2, 2)
    assert read == ["a", "b"]


def test_embed_blocks_stores_a_chunk_before_it_encodes_the_next(
    encoded: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "CHUNK", 2)
    store, stored = MemoryStore(), []
    texts = [f"{n} " * (9 - n) for n in range(5)]
    list(CachedEmbedder("m", 32, 8, store).embed_blocks(texts, progress=lambda done, _: stored.append((done, len(store.rows)))))
    assert stored == [(2, 2), (4, 4), (5, 5)]
    assert [len(part) for part in encoded] == [2, 2, 1]


def test_progress_counts_each_new_text_once_against_all_of_them(encoded: list[list[str]]) -> None:
    store = MemoryStore()
    found = CachedEmbedder("m", 32, 8, store)
    found.embed(["a"])
    told: list[tuple[int, int]] = []
    list(found.embed_blocks(["a", "b", "c", "b", "d"], block=2, progress=lambda *counts: told.append(counts)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    list(found.embed_blocks(iter(["e", "f"]), block=1, progress=lambda *counts: told.append(counts)))
    assert told[3:] == [(1, 1), (2, 2)]


def test_embed_refuses_vectors_that_are_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(lambda texts: np.full((len(texts), 2), np.nan, np.float32), lambda texts: np.ones(len(texts), np.int64))
    monkeypatch.setattr(embedder, "load_encoder", lambda *_: encoder)
    store = MemoryStore()
    with pytest.raises(ConfigError, match="not finite"):
        CachedEmbedder("m", 32, 8, store).embed(["a"])
    assert store.rows == {}


def test_embedder_identity_goes_by_content_and_length() -> None:
    assert embedder_identity("/models/mini", "abc", 32) == embedder_identity("~/mini", "abc", 32) == "mini-abc-32"
    assert embedder_identity("org/mini", "abd", 96) == "mini-abd-96"
    assert embedder_identity("org/mini", "abd", 96, "bfloat16") == "mini-abd-96-bfloat16"


def test_hash_text_survives_lone_surrogates() -> None:
    assert hash_text("\ud800") != hash_text("\ud801")


def test_label_text_adds_a_description_only_where_there_is_one() -> None:
    assert (label_text("a", ""), label_text("a", "b")) == ("a", "a\nb")


def test_model_location_names_a_folder_that_is_missing() -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        model_location("/nowhere/model")
