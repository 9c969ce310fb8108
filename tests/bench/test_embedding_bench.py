"""The cache of vectors at a million texts beside Parquet parts, what sorting saves, and numeric forms; `-s` shows the figures.

Texts are the shipped sample's, but for the cache, whose million vectors are drawn. `results/embedding.json` keeps the figures.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from schemas.config import EmbedConfig, IngestConfig
from tasks.datasets.task import ingest_dataset
from tasks.labels.embedder import BLOCK, CHUNK, CachedEmbedder, hash_text, label_text
from tasks.labels.encoder import Precision, load_encoder
from tasks.labels.search import LabelIds, LabelIndex
from tests.support.runs import tiny_run
from warehouse.embedding_store import EmbeddingStore
from warehouse.parquet import read_table

Vectors = NDArray[np.float32]

TEXTS = 1_000_000
WIDTH = 384
EMBED = EmbedConfig()
BATCH = EMBED.batch_size
DOCUMENTS = 500
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
RESULTS = Path(__file__).parent / "results" / "embedding.json"


class ParquetParts:
    """What the cache was before: a Parquet part a chunk, read whole into memory, with the row of each hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, hashes: list[str], vectors: Vectors) -> None:
        part = pl.DataFrame({"text_hash": hashes, "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, WIDTH))})
        part.write_parquet(self._folder / f"{hashes[0]}.parquet", compression="zstd", compression_level=1)

    def open(self) -> Callable[[list[str]], Vectors]:
        rows: dict[str, int] = {}
        parts = []
        for path in sorted(self._folder.glob("*.parquet")):
            part = pl.read_parquet(path)
            rows |= {text_hash: len(rows) + i for i, text_hash in enumerate(part["text_hash"].to_list())}
            parts.append(part["vector"].to_numpy().astype(np.float32, copy=False))
        vectors = np.concatenate(parts)
        return lambda hashes: vectors[[rows[text_hash] for text_hash in hashes]]


class Watch:
    """CPU seconds and the growth of the process's memory, MB, since it was made."""

    def __init__(self) -> None:
        self._cpu_s = time.process_time()
        self._before = resident_mb()
        self._most = self._before

    def look(self) -> None:
        self._most = max(self._most, resident_mb())

    def read(self) -> dict[str, float]:
        self.look()
        return {"cpu_s": round(time.process_time() - self._cpu_s, 1), "grown_mb": round(self._most - self._before, 1)}


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def texts(count: int) -> Iterator[str]:
    return (f"text {number}" for number in range(count))


def hash_chunks(size: int) -> Iterator[list[str]]:
    for start in range(0, TEXTS, size):
        yield [hash_text(f"text {number}") for number in range(start, min(start + size, TEXTS))]


def fill(append: Callable[[list[str], Vectors], None], vectors: Vectors) -> dict[str, float]:
    watch = Watch()
    for number, hashes in enumerate(hash_chunks(CHUNK)):
        append(hashes, np.roll(vectors, number, axis=1)[: len(hashes)])
        watch.look()
    return watch.read()


def look_up(get: Callable[[list[str]], Vectors], watch: Watch) -> dict[str, float]:
    for hashes in hash_chunks(BLOCK):
        get(hashes)
        watch.look()
    return watch.read()


def size_mb(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1)


def keep(part: str, found: object) -> None:
    """Show a part and put it into the results file."""
    sys.stdout.write(f"\n{part}: {json.dumps(found)}\n")
    RESULTS.parent.mkdir(exist_ok=True)
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(before | {part: found}, indent=1) + "\n")


@pytest.mark.bench
def test_a_million_vectors_are_stored_and_read_in_flat_memory(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).standard_normal((CHUNK, WIDTH)).astype(np.float32)
    store = EmbeddingStore(tmp_path / "sqlite", "drawn")
    found: dict[str, dict[str, float]] = {"sqlite, write": fill(store.append, drawn)}
    found["sqlite, in order"] = look_up(EmbeddingStore(tmp_path / "sqlite", "drawn").get, Watch())
    watch = Watch()
    told: list[int] = []
    embedder = CachedEmbedder("drawn", 32, BATCH, store)
    for block in embedder.embed_blocks(texts(TEXTS), progress=lambda done, _: told.append(done)):
        assert block.shape[1] == WIDTH
        watch.look()
    found["embed_blocks, all cached"] = watch.read()
    assert told == []
    (tmp_path / "parquet").mkdir()
    parts = ParquetParts(tmp_path / "parquet")
    found["parquet, write"] = fill(parts.append, drawn)
    watch = Watch()
    found["parquet, in order"] = look_up(parts.open(), watch)
    sizes = {"sqlite_mb": size_mb(tmp_path / "sqlite"), "parquet_mb": size_mb(tmp_path / "parquet")}
    keep("cache of a million vectors", found | sizes)
    assert found["sqlite, in order"]["grown_mb"] < 200
    assert found["embed_blocks, all cached"]["grown_mb"] < 200


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Texts of the sample's labels and of its documents."""
    run = tiny_run(tmp_path_factory.mktemp("sample"))
    config = IngestConfig(path=str(files("samples") / "debian_seealso_small"))
    tables = {ref.table: ref for ref in ingest_dataset.fn(run, config).tables}
    labels = read_table(tables["core_labels"])
    names = [label_text(name, text) for name, text in labels.select("label_name", "description_text").iter_rows()]
    return names, read_table(tables["core_documents"])["document_text"].to_list()


def padding_frac(lengths: NDArray[np.int64], order_by: NDArray[np.int64], block: int) -> float:
    """Padding as a share of the tokens, when blocks are sorted by `order_by` and cut into batches."""
    padded = 0
    for start in range(0, len(lengths), block):
        part = lengths[start : start + block][np.argsort(-order_by[start : start + block], kind="stable")]
        padded += sum(int(part[i : i + BATCH].max()) * len(part[i : i + BATCH]) for i in range(0, len(part), BATCH))
    return round(padded / int(lengths.sum()) - 1, 4)


@pytest.mark.bench
def test_sorting_by_tokens_leaves_little_padding(sample: tuple[list[str], list[str]]) -> None:
    found = {}
    for what, some, tokens in (("labels", sample[0], EMBED.label_tokens), ("documents", sample[1], EMBED.document_tokens)):
        lengths = load_encoder(EMBED.model, tokens, BATCH).lengths(some)
        characters = np.array([len(text) for text in some])
        found[what] = {
            "unsorted": padding_frac(lengths, np.zeros_like(lengths), BLOCK),
            "by characters": padding_frac(lengths, characters, BLOCK),
            "by tokens, 512": padding_frac(lengths, lengths, 512),
            f"by tokens, {BLOCK}": padding_frac(lengths, lengths, BLOCK),
        }
        assert found[what][f"by tokens, {BLOCK}"] < 0.02 < found[what]["by characters"]
    keep("padding", found)


def overlap(found: LabelIds, exact: LabelIds, k: int) -> float:
    """Share of the first k labels that two rankings have in common, mean over queries."""
    shared = [len(set(ours[:k]) & set(theirs[:k])) for ours, theirs in zip(found.tolist(), exact.tolist(), strict=True)]
    return round(float(np.mean(shared)) / k, 4)


@pytest.mark.bench
def test_bfloat16_ranks_labels_as_float32_does(sample: tuple[list[str], list[str]]) -> None:
    made: dict[Precision, list[Vectors]] = {}
    cost: dict[Precision, list[float]] = {}
    for precision in PRECISIONS:
        made[precision], cost[precision] = [], []
        for some, tokens in ((sample[0], EMBED.label_tokens), (sample[1][:DOCUMENTS], EMBED.document_tokens)):
            encoder = load_encoder(EMBED.model, tokens, BATCH, precision)
            encoder.encode(some[:BATCH])
            order = np.argsort(-encoder.lengths(some), kind="stable")
            began = time.process_time()
            vectors = encoder.encode([some[row] for row in order])
            cost[precision].append(round((time.process_time() - began) / len(some) * 1000, 3))
            made[precision].append(vectors[np.argsort(order)])
    (labels, documents), (near_labels, near_documents) = (made[precision] for precision in PRECISIONS)
    ids = np.arange(len(labels), dtype=np.int32)
    exact = LabelIndex(ids, labels).search(documents, 100).label_ids
    found = LabelIndex(ids, near_labels).search(near_documents, 100).label_ids
    recall = {f"recall@{k}": overlap(found, exact, k) for k in (10, 100)}
    cosines = [round(float((a * b).sum(axis=1).mean()), 6) for a, b in ((labels, near_labels), (documents, near_documents))]
    keep(
        "bfloat16",
        {"cpu_s_a_thousand_labels_and_documents": cost, "mean_cosine_labels_and_documents": cosines, **recall},
    )
    assert recall["recall@100"] > 0.98
