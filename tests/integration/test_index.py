import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.config import EmbedConfig, IndexConfig, IngestConfig
from schemas.errors import IndexRefusedError
from schemas.refs import RunRef, StageInputs, StageOutput, StageResult, TableRef
from schemas.tables import TABLES
from tasks.datasets.task import ingest_dataset
from tasks.labels.embedder import hash_text, label_text
from tasks.labels.recall import Recall
from tasks.labels.task import index_labels, open_embedder, open_label_index
from tests.support.runs import tiny_lf, tiny_run
from warehouse.index_store import IndexManifest, load_manifest
from warehouse.parquet import read_table, table_ref, write_table
from warehouse.published import save_output


def store_vectors(run: RunRef, texts: list[str], token_count: int, seed: int = 0) -> None:
    """Put random unit vectors for these texts into the run's embedding cache, so that no model is loaded."""
    vectors = np.random.default_rng(seed).normal(size=(len(texts), 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = open_embedder(run, EmbedConfig(), token_count).store
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


def build(prepared: tuple[RunRef, StageInputs], **settings: object) -> StageResult:
    run, inputs = prepared
    return index_labels.fn(run, inputs, IndexConfig.model_validate(settings), EmbedConfig())


def manifest_of(result: StageResult) -> IndexManifest:
    return load_manifest(Path(result.artifacts[0].path))


def test_index_serves_the_labels_it_was_built_from(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    result = build(prepared)
    index = open_label_index(run, result.artifacts[0], inputs.tables["core_labels"])
    assert index.search(index.vectors, 1).label_ids[:, 0].tolist() == [0, 1, 2, 3, 4]
    metrics = pl.read_parquet(result.tables[0].path)
    assert metrics.select("metric", "k", "value").rows() == [("index_recall", 10, 1.0), ("index_recall", 100, 1.0)]
    assert manifest_of(result).is_exact


@pytest.mark.parametrize("vector_form", ["float32", "float16", "int8"])
@pytest.mark.parametrize("graph_form", ["i8", "f16", "b1"])
def test_an_approximate_index_is_measured_against_exact_search(
    prepared: tuple[RunRef, StageInputs], graph_form: str, vector_form: str
) -> None:
    run, inputs = prepared
    result = build(prepared, exact_below_count=0, graph_form=graph_form, vector_form=vector_form)
    index = open_label_index(run, result.artifacts[0], inputs.tables["core_labels"])
    queries = index.vectors
    assert np.array_equal(index.search(queries, 3).label_ids, index.search(queries, 3, is_exact=True).label_ids)
    manifest = manifest_of(result)
    assert (manifest.graph_form, manifest.vector_form, manifest.added_count) == (graph_form, vector_form, 5)
    assert manifest.recall_at_100_ci[0] <= manifest.recall_at_100 <= manifest.recall_at_100_ci[1]


def test_index_below_its_floor_is_not_saved(prepared: tuple[RunRef, StageInputs], monkeypatch: pytest.MonkeyPatch) -> None:
    low = {10: Recall(0.5, 0.4, 0.6), 100: Recall(0.5, 0.4, 0.6)}
    monkeypatch.setattr("tasks.labels.task.measure_recall", lambda index, oracle, ks: low)
    with pytest.raises(IndexRefusedError, match=r"recall@10 0\.5000 .* below its floor index\.min_recall_at_10 = 0\.98"):
        build(prepared)
    assert not list(prepared[0].root_path.rglob("label_index*"))


def test_index_refuses_another_label_set(prepared: tuple[RunRef, StageInputs]) -> None:
    run, inputs = prepared
    artifact = build(prepared).artifacts[0]
    labels = inputs.tables["core_labels"]
    other = Path(labels.path).with_name("other.parquet")
    read_table(labels).head(3).write_parquet(other)
    changed: TableRef = table_ref(run, "ingest", "core_labels", other)
    with pytest.raises(IndexRefusedError, match="made for label set"):
        open_label_index(run, artifact, changed)


FILES = ["manifest.json", "vectors.npy", "scales.npy", "label_ids.npy", "graph.usearch", "graph_rows.npy"]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_index_is_refused(prepared: tuple[RunRef, StageInputs], name: str) -> None:
    run, inputs = prepared
    artifact = build(prepared, exact_below_count=0).artifacts[0]
    path = Path(artifact.path) / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(IndexRefusedError, match="run `ctd index` again"):
        open_label_index(run, artifact, inputs.tables["core_labels"])


def test_labels_without_a_usable_vector_are_named(prepared: tuple[RunRef, StageInputs], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.labels.filling.unusable_rows", lambda vectors: np.array([2]))
    with pytest.raises(IndexRefusedError, match=r"1 labels have no usable vector, e\.g\. \['image viewer'\]"):
        build(prepared)
    assert not list(prepared[0].root_path.rglob("label_index*"))


def test_a_target_recall_below_the_floor_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"index.target_recall = 0\.9: it must lie from index.min_recall_at_100 = 0\.95"):
        IndexConfig(target_recall=0.9)


NAMES = [f"label number {i} of the {word}" for i in range(400) for word in ("sea", "land")]


def numbered(run: RunRef, labels: list[str]) -> StageInputs:
    """Tables of these labels and 30 documents, their vectors in the cache; each text has a vector of its own."""
    documents = [f"document {i}" for i in range(30)]
    for texts, embed_tokens in ((labels, EmbedConfig().label_tokens), (documents, EmbedConfig().document_tokens)):
        store = open_embedder(run, EmbedConfig(), embed_tokens).store
        hashes = {hash_text(text): text for text in texts}
        missing = store.missing(list(hashes))
        if missing:
            store.append(missing, np.stack([unit_vector(hashes[text_hash]) for text_hash in missing]))
    rows: dict[str, list[dict[str, object]]] = {
        "core_labels": [{"label_id": i, "label_uid": f"l{i}", "label_name": name} for i, name in enumerate(labels)],
        "core_documents": [{"document_id": f"d{i}", "document_text": text} for i, text in enumerate(documents)],
    }
    return StageInputs(tables={name: put_rows(run, name, table) for name, table in rows.items()}, artifacts={})


def unit_vector(text: str) -> NDArray[np.float32]:
    vector = np.random.default_rng(int(hash_text(text)[:8], 16)).normal(size=32).astype(np.float32)
    return vector / np.linalg.norm(vector)


def put_rows(run: RunRef, name: str, rows: list[dict[str, object]]) -> TableRef:
    frame = pl.DataFrame(rows)
    missing = {column: dtype for column, dtype in TABLES[name].schema.items() if column not in frame.columns}
    return write_table(
        run, "ingest", TABLES[name], TABLES[name].conform(frame.with_columns(**{c: filler(t) for c, t in missing.items()}))
    )


def filler(dtype: pl.DataType) -> pl.Expr:
    return pl.lit("" if dtype == pl.String else 0).cast(dtype)


def publish(run: RunRef, result: StageResult, fingerprint: str) -> None:
    made = {"tables": result.tables, "artifacts": result.artifacts, "cost": result.cost, "duration_s": 0.0, "inputs": ()}
    save_output(
        run,
        StageOutput(
            stage="index", dataset=run.dataset, run_id=run.run_id, fingerprint=fingerprint, published_at="2026-01-01", **made
        ),
    )


def test_a_changed_label_set_changes_the_graph_and_embeds_only_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tiny_run(tmp_path / "root"), tiny_run(tmp_path / "root", run_id="run-2")
    settings = IndexConfig(exact_below_count=0, min_recall_at_10=0.9, min_recall_at_100=0.9)
    publish(first, index_labels.fn(first, numbered(first, NAMES), settings, EmbedConfig()), "one")
    changed = ["a label in front", *NAMES[5:400], *NAMES[405:], "one at the end"]
    inputs = numbered(second, changed)
    monkeypatch.setattr("tasks.labels.task.new_graph", lambda sample, setting: pytest.fail("built anew"))
    result = index_labels.fn(second, inputs, settings, EmbedConfig())
    manifest = manifest_of(result)
    assert (manifest.added_count, manifest.removed_count, manifest.updated_from) == (2, 10, "run-1")
    index = open_label_index(second, result.artifacts[0], inputs.tables["core_labels"])
    found = index.search(np.stack([unit_vector(name) for name in changed]), 1)
    assert (found.label_ids[:, 0] == np.arange(len(changed))).mean() > 0.99
    gone = index.search(np.stack([unit_vector(name) for name in NAMES[:5]]), 1)
    assert gone.scores.max() < 0.99


def test_many_changes_another_graph_or_no_wish_to_keep_it_build_anew(tmp_path: Path) -> None:
    first, second = tiny_run(tmp_path / "root"), tiny_run(tmp_path / "root", run_id="run-2")
    base = {"exact_below_count": 0, "min_recall_at_10": 0.9, "min_recall_at_100": 0.9}
    publish(first, index_labels.fn(first, numbered(first, NAMES), IndexConfig.model_validate(base), EmbedConfig()), "one")
    inputs = numbered(second, NAMES[100:])
    for setting in ({"rebuild_above_frac": 0.1}, {"connectivity": 24}, {"keep_graph": False}):
        settings = IndexConfig.model_validate(base | setting)
        manifest = manifest_of(index_labels.fn(second, inputs, settings, EmbedConfig()))
        assert (manifest.added_count, manifest.updated_from) == (700, None)


def test_a_damaged_last_index_is_no_hindrance(tmp_path: Path) -> None:
    first, second = tiny_run(tmp_path / "root"), tiny_run(tmp_path / "root", run_id="run-2")
    settings = IndexConfig(exact_below_count=0, min_recall_at_10=0.9, min_recall_at_100=0.9)
    result = index_labels.fn(first, numbered(first, NAMES), settings, EmbedConfig())
    publish(first, result, "one")
    (Path(result.artifacts[0].path) / "graph.usearch").write_bytes(b"rubbish")
    assert manifest_of(index_labels.fn(second, numbered(second, NAMES), settings, EmbedConfig())).updated_from is None


def test_a_target_recall_is_reached_with_an_expansion_of_its_own(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "root")
    settings = IndexConfig(exact_below_count=0, target_recall=0.96)
    manifest = manifest_of(index_labels.fn(run, numbered(run, NAMES), settings, EmbedConfig()))
    assert manifest.recall_at_100_ci[0] >= 0.96 == manifest.target_recall
    assert manifest.min_recall_at_100 == 0.96


def test_labels_that_share_a_vector_are_counted(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "root")
    manifest = manifest_of(index_labels.fn(run, numbered(run, [*NAMES, NAMES[3], NAMES[3]]), IndexConfig(), EmbedConfig()))
    assert manifest.duplicate_count == 2


KILLED = """
import os, sys
from schemas.config import EmbedConfig, IndexConfig
from schemas.refs import RunRef, StageInputs
from tasks.labels.task import index_labels
import tasks.labels.task as task
run, inputs = RunRef.model_validate_json(sys.argv[1]), StageInputs.model_validate_json(sys.argv[2])
def kill(folder, *rest):
    os.kill(os.getpid(), 9)
setattr(task, sys.argv[3], kill)
index_labels.fn(run, inputs, IndexConfig(exact_below_count=0, min_recall_at_10=0.9, min_recall_at_100=0.9), EmbedConfig())
"""


@pytest.mark.parametrize("moment", ["save_graph", "save_labels", "refuse_low_recall"])
def test_a_kill_while_saving_leaves_the_old_index(tmp_path: Path, moment: str) -> None:
    run = tiny_run(tmp_path / "root")
    settings = IndexConfig(exact_below_count=0, min_recall_at_10=0.9, min_recall_at_100=0.9)
    old_inputs = numbered(run, NAMES[:700])
    old = index_labels.fn(run, old_inputs, settings, EmbedConfig())
    new_inputs = numbered(tiny_run(tmp_path / "root", run_id="run-2"), NAMES)
    arguments = [run.model_dump_json(), new_inputs.model_dump_json(), moment]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=Path(__file__).parents[2])
    assert done.returncode == -9
    index = open_label_index(run, old.artifacts[0], old_inputs.tables["core_labels"])
    assert index.size == 700
    assert index_labels.fn(run, new_inputs, settings, EmbedConfig()).artifacts


def test_packaged_embedder_gives_unit_vectors_that_know_meaning(tmp_path: Path) -> None:
    embedder = open_embedder(tiny_run(tmp_path), EmbedConfig(), 32)
    first, near, far = embedder.embed(["a text editor", "an editor for writing text", "weather forecast"])
    assert float(first @ first) == pytest.approx(1, abs=1e-5)
    assert float(first @ near) > 0.7 > float(first @ far)
