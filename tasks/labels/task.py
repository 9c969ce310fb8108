"""Build, measure and open the label index; open the embedder. Other rooms' tasks open both from here."""

import logging
import time
from pathlib import Path

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, IndexConfig
from schemas.errors import IndexRefusedError
from schemas.refs import ArtifactRef, RunRef, StageInputs, StageResult, TableRef
from schemas.tables import OUT_METRICS
from tasks.labels.embedder import CachedEmbedder, label_text
from tasks.labels.progress import log_progress
from tasks.labels.recall import measure_recall, unusable_rows
from tasks.labels.search import LabelIds, LabelIndex, Vectors
from warehouse.embedding_store import EmbeddingStore
from warehouse.index_store import (
    IndexManifest,
    build_graph,
    graph_search,
    load_index,
    refuse_low_recall,
    save_index,
)
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, read_table, write_table

logger = logging.getLogger(__name__)

MEASURED_KS = (10, 100)


def open_embedder(run: RunRef, embed: EmbedConfig, token_count: int) -> CachedEmbedder:
    """The configured embedder with the data root's cache; nothing is loaded until a text is new."""
    store = EmbeddingStore(run.root_path, f"{embed.model}-{token_count}")
    return CachedEmbedder(embed.model, token_count, embed.batch_size, store)


def open_label_index(run: RunRef, index: ArtifactRef, labels: TableRef) -> LabelIndex:
    """The published label index of exactly these labels.

    Raises:
        IndexRefusedError: it is damaged, below its recall floor, or was made for another label set.
    """
    label_ids, vectors, search, _ = load_index(Path(index.path), labels.content_hash)
    return LabelIndex(label_ids, vectors, search)


@task(cache_policy=NO_CACHE)
def index_labels(run: RunRef, inputs: StageInputs, index: IndexConfig, embed: EmbedConfig) -> StageResult:
    """`core_labels` -> the label index, its recall against exact search in `out_metrics`; also embeds the documents."""
    started = time.monotonic()
    labels, documents = read_table(inputs.tables["core_labels"]), read_table(inputs.tables["core_documents"])
    texts = [label_text(name, text) for name, text in labels.select("label_name", "description_text").iter_rows()]
    vectors = open_embedder(run, embed, embed.label_tokens).embed(texts, log_progress("labels embedded"))
    refuse_unusable(labels, vectors)
    queries = open_embedder(run, embed, embed.document_tokens).embed(
        documents["document_text"].to_list(), log_progress("documents embedded")
    )
    sample = np.random.default_rng(index.seed).permutation(len(queries))[: index.recall_sample_count]
    result = publishable_index(run, inputs, index, embed, labels["label_id"].to_numpy(), vectors, queries[sample])
    logger.info("index: %d labels, %d documents embedded, %.1f s", len(labels), len(documents), time.monotonic() - started)
    return result


def refuse_unusable(labels: pl.DataFrame, vectors: Vectors) -> None:
    """Refuse label vectors that are not finite or have no length.

    Raises:
        IndexRefusedError: names the labels.
    """
    bad = unusable_rows(vectors)
    if len(bad):
        names = labels["label_name"].gather(bad[:3]).to_list()
        raise IndexRefusedError(
            f"core_labels: {len(bad)} of {len(labels)} labels have no usable vector, e.g. {names}; mend their text"
        )


def publishable_index(
    run: RunRef,
    inputs: StageInputs,
    index: IndexConfig,
    embed: EmbedConfig,
    label_ids: LabelIds,
    vectors: Vectors,
    queries: Vectors,
) -> StageResult:
    """Build, measure, gate and save the index.

    Raises:
        IndexRefusedError: measured recall is below the floor; nothing is saved.
    """
    is_exact = len(label_ids) < index.exact_below_count
    graph = None if is_exact else build_graph(vectors, index.connectivity, index.expansion_add, index.expansion_search)
    found = LabelIndex(label_ids, vectors, None if graph is None else graph_search(graph))
    recalls = {k: measure_recall(found, queries, min(k, len(label_ids))) for k in MEASURED_KS}
    manifest = IndexManifest(
        embedder=embed.model,
        token_count=embed.label_tokens,
        label_count=len(label_ids),
        d_model=vectors.shape[1],
        labels_hash=inputs.tables["core_labels"].content_hash,
        is_exact=is_exact,
        connectivity=index.connectivity,
        expansion_add=index.expansion_add,
        expansion_search=index.expansion_search,
        recall_at_10=recalls[10][0],
        recall_at_100=recalls[100][0],
        recall_sample_count=len(queries),
        min_recall_at_10=index.min_recall_at_10,
        min_recall_at_100=index.min_recall_at_100,
    )
    path = artifact_path(run.root_path, run.run_id, "index", "label_index")
    refuse_low_recall(path, manifest)
    save_index(path, label_ids, vectors, graph, manifest)
    metrics = write_table(run, "index", OUT_METRICS, recall_rows(run, recalls, len(queries)))
    return StageResult(tables=(metrics,), artifacts=(artifact_ref(run, "index", "label_index", path),))


def recall_rows(run: RunRef, recalls: dict[int, tuple[float, float, float]], query_count: int) -> pl.DataFrame:
    """The measured recalls as rows of `out_metrics`, system `label_index`, metric `index_recall`."""
    rows = [
        {
            "run_id": run.run_id,
            "dataset": run.dataset,
            "system": "label_index",
            "metric": "index_recall",
            "k": k,
            "segment": "all",
            "split": "train",
            "value": value,
            "ci_low": low,
            "ci_high": high,
            "document_count": query_count,
            "seed_count": 1,
            "seed_sd": None,
        }
        for k, (value, low, high) in recalls.items()
    ]
    return OUT_METRICS.conform(pl.DataFrame(rows, schema_overrides={"seed_sd": pl.Float64}))
