from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.config import EmbedConfig, IndexConfig, IngestConfig
from schemas.errors import IndexRefusedError
from schemas.refs import RunRef, StageInputs, StageResult, TableRef
from tasks.datasets.task import ingest_dataset
from tasks.labels.embedder import hash_text, label_text
from tasks.labels.task import index_labels, open_embedder, open_label_index
from tests.support.runs import tiny_lf, tiny_run
from warehouse.embedding_store import EmbeddingStore
from warehouse.parquet import read_table, table_ref


def store_vectors(run: RunRef, texts: list[str], token_count: int, seed: int = 0) -> None:
    """Put random unit vectors for these texts into the run's embedding cache, so that no model is loaded."""
    vectors = np.random.default_rng(seed).normal(size=(len(texts), 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = EmbeddingStore(run.root_path, f"{EmbedConfig().model}-{token_count}")
    store.append([hash_text(text) for text in texts], vectors)


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[RunRef, StageInputs]:
    """A run whose dataset is ingested and whose vectors are in the cache."""
    run = tiny_run(tmp_path / "root")
    tables = ingest_dataset.fn(run, IngestConfig(path=str(tiny_lf(tmp_path / "lf")))).tables
    inputs = StageInputs(tables={ref.table: ref for ref in tables}, artifacts={})
    labels = read_table(inputs.tables["core_labels"])
    names = [label_text(name, text) for name, text in labels.select("label_name", "description_text").iter_rows()]
    store_vectors(run, names, EmbedConfig().label_tokens)
    store_vectors(run, read_table(inputs.tables["core_documents"])["document_text"].to_list(), EmbedConfig().document_tokens, 1)
    return run, inputs


def build(prepared: tuple[RunRef, StageInputs], **settings: float) -> StageResult:
    run, inputs = prepared
    return index_labels.fn(run, inputs, IndexConfig.model_validate(settings), EmbedConfig())


def test_index_serves_the_labels_it_was_built_from(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    result = build(prepared)
    index = open_label_index(run, result.artifacts[0], inputs.tables["core_labels"])
    assert index.search(np.asarray(index.vectors), 1).label_ids[:, 0].tolist() == [0, 1, 2, 3, 4]
    metrics = pl.read_parquet(result.tables[0].path)
    assert metrics.select("metric", "k", "value").rows() == [("index_recall", 10, 1.0), ("index_recall", 100, 1.0)]


def test_an_approximate_index_is_measured_against_exact_search(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    result = build(prepared, exact_below_count=0)
    index = open_label_index(run, result.artifacts[0], inputs.tables["core_labels"])
    queries = np.asarray(index.vectors)
    assert np.array_equal(index.search(queries, 3).label_ids, index.search(queries, 3, is_exact=True).label_ids)


def test_index_below_its_floor_is_not_saved(prepared: tuple[RunRef, StageInputs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.labels.task.measure_recall", lambda index, queries, k: (0.5, 0.4, 0.6))
    with pytest.raises(IndexRefusedError, match=r"recall@10 0\.5000 .* below its floor index\.min_recall_at_10 = 0\.98"):
        build(prepared)
    assert not list(prepared[0].root_path.rglob("label_index"))


def test_index_refuses_another_label_set(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    artifact = build(prepared).artifacts[0]
    labels = inputs.tables["core_labels"]
    other = Path(labels.path).with_name("other.parquet")
    read_table(labels).head(3).write_parquet(other)
    changed: TableRef = table_ref(run, "ingest", "core_labels", other)
    with pytest.raises(IndexRefusedError, match="made for label set"):
        open_label_index(run, artifact, changed)


@pytest.mark.parametrize("name", ["manifest.json", "vectors.npy", "label_ids.npy"])
def test_a_damaged_index_is_refused(prepared: tuple[RunRef, StageInputs], name: str) -> None:
    run, inputs = prepared
    artifact = build(prepared).artifacts[0]
    path = Path(artifact.path) / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(IndexRefusedError, match="run `ctd index` again"):
        open_label_index(run, artifact, inputs.tables["core_labels"])


def test_labels_without_a_usable_vector_are_named(prepared: tuple[RunRef, StageInputs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.labels.task.unusable_rows", lambda vectors: np.array([2]))
    with pytest.raises(IndexRefusedError, match=r"1 of 5 labels have no usable vector, e\.g\. \['image viewer'\]"):
        build(prepared)


def test_packaged_embedder_gives_unit_vectors_that_know_meaning(tmp_path: Path) -> None:
    embedder = open_embedder(tiny_run(tmp_path), EmbedConfig(), 32)
    first, near, far = embedder.embed(["a text editor", "an editor for writing text", "weather forecast"])
    assert float(first @ first) == pytest.approx(1, abs=1e-5)
    assert float(first @ near) > 0.7 > float(first @ far)
