"""Build or update, measure and open the label index; open the embedder. Other rooms' tasks open both from here."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, IndexConfig
from schemas.errors import EmptyTargetError, IndexRefusedError
from schemas.refs import ArtifactRef, LabelReference, RunRef, StageInputs, StageResult, TableRef
from schemas.tables import OUT_METRICS
from tasks.labels.changes import Changes, find_changes, short_hashes
from tasks.labels.embedder import CachedEmbedder, embedder_identity, hash_text, label_text
from tasks.labels.encoder import model_location
from tasks.labels.filling import Store, fill_index, grow_graph
from tasks.labels.graph import GraphSetting, SearchGraph, new_graph
from tasks.labels.progress import log_progress
from tasks.labels.recall import Oracle, Recall, measure_recall
from tasks.labels.search import LabelIds, LabelIndex
from tasks.labels.tuning import PILOT_LABELS, cheapest, smallest_expansion, try_settings
from tasks.labels.vectors import StoredVectors, VectorForm, Vectors
from warehouse.embedding_store import EmbeddingStore, model_digest
from warehouse.index_store import (
    IndexManifest,
    load_index,
    load_manifest,
    load_to_change,
    new_index,
    new_vectors,
    refuse_low_recall,
    save_graph,
    save_labels,
)
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, read_table, write_table
from warehouse.published import latest_output

logger = logging.getLogger(__name__)

MEASURED_KS = (10, 100)
SCALE_SAMPLE = 8192
"""Labels whose components set the scale of an 8-bit graph."""


def open_embedder(run: RunRef, embed: EmbedConfig, token_count: int) -> CachedEmbedder:
    """The configured embedder with the data root's vectors of the model's content; nothing is loaded until a text is new.

    Raises:
        ConfigError: there is no such model.
    """
    digest = model_digest(model_location(embed.model))
    store = EmbeddingStore(run.root_path, embedder_identity(embed.model, digest, token_count, embed.precision))
    return CachedEmbedder(embed.model, token_count, embed.batch_size, store, embed.precision)


def hash_embedder(run: RunRef) -> str:
    """What the configured embedder is by content, for the fingerprint of the index: another model in the same folder counts.

    Raises:
        ConfigError: there is no such model.
    """
    return open_embedder(run, run.config.embed, run.config.embed.label_tokens).identity


def refer_to_index(run: RunRef, index: ArtifactRef, embed: EmbedConfig) -> LabelReference:
    """Where the label index stands below the data root, and what it and documents are embedded with.

    Raises:
        ConfigError: there is no such model.
    """
    return LabelReference(
        path=Path(index.path).relative_to(run.root_path).as_posix(),
        label_embedder=open_embedder(run, embed, embed.label_tokens).identity,
        document_embedder=open_embedder(run, embed, embed.document_tokens).identity,
    )


def open_label_index(run: RunRef, index: ArtifactRef, labels: TableRef) -> LabelIndex:
    """The published label index of exactly these labels.

    Raises:
        IndexRefusedError: it is damaged, below its recall floor, or was made for another label set.
    """
    files = load_index(Path(index.path), labels.content_hash)
    stored = StoredVectors(files.vectors.codes, files.vectors.scales)
    if files.graph is None:
        return LabelIndex(files.label_ids, stored)
    graph = SearchGraph(files.graph, _setting(files.manifest), files.manifest.graph_scale, files.graph_rows)
    return LabelIndex(files.label_ids, stored, graph.search)


@dataclass(frozen=True)
class Labels:
    """What the index is made of: numbers and names of the labels, the texts to embed and their hashes."""

    label_ids: LabelIds
    names: list[str]
    texts: list[str]
    text_hashes: list[str]
    table_hash: str


@dataclass(frozen=True)
class Earlier:
    """The dataset's last index, its graph in memory, and what the new label set changes in it."""

    run_id: str
    graph: SearchGraph
    changes: Changes


@dataclass
class Clock:
    """Seconds by part of the work."""

    parts: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.monotonic)

    def lap(self, part: str) -> None:
        """Book the time since the last lap to a part."""
        now = time.monotonic()
        self.parts[part] = self.parts.get(part, 0.0) + now - self.last
        self.last = now

    def __str__(self) -> str:
        return ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.parts.items())


@task(cache_policy=NO_CACHE)
def index_labels(run: RunRef, inputs: StageInputs, index: IndexConfig, embed: EmbedConfig) -> StageResult:
    """`core_labels` -> the label index, its recall against exact search in `out_metrics`; also embeds the documents."""
    clock = Clock()
    labels = read_labels(inputs)
    clock.lap("read")
    queries = embed_documents(run, inputs, index, embed)
    clock.lap("embed documents")
    path = artifact_path(run.root_path, run.run_id, "index", "label_index")
    with new_index(path) as folder:
        manifest = write_index(run, folder, labels, queries, index, embed, clock)
        refuse_low_recall(path, manifest)
    metrics = write_table(run, "index", OUT_METRICS, recall_rows(run, manifest))
    artifact = artifact_ref(run, "index", "label_index", path)
    clock.lap("save")
    logger.info(
        "index: %d labels (%d added, %d removed, %d with another's vector), %s, expansion %d, recall@100 %.4f; %s",
        manifest.label_count, manifest.added_count, manifest.removed_count, manifest.duplicate_count,
        manifest.graph_form or "exact", manifest.expansion_search, manifest.recall_at_100, clock,
    )  # fmt: skip
    return StageResult(tables=(metrics,), artifacts=(artifact,))


def read_labels(inputs: StageInputs) -> Labels:
    """The labels of `core_labels`, in its order."""
    frame = read_table(inputs.tables["core_labels"], ["label_id", "label_name", "description_text"])
    texts = [label_text(name, text) for name, text in frame.select("label_name", "description_text").iter_rows()]
    return Labels(
        frame["label_id"].to_numpy(),
        frame["label_name"].to_list(),
        texts,
        [hash_text(text) for text in texts],
        inputs.tables["core_labels"].content_hash,
    )


def embed_documents(run: RunRef, inputs: StageInputs, index: IndexConfig, embed: EmbedConfig) -> Vectors:
    """Embed all documents into the cache; the vectors of a sample of them, for recall.

    Raises:
        EmptyTargetError: there is no document.
    """
    texts = read_table(inputs.tables["core_documents"], ["document_text"])["document_text"].to_list()
    if not texts:
        raise EmptyTargetError("core_documents: no document to measure the label index with")
    chosen = np.sort(np.random.default_rng(index.seed).permutation(len(texts))[: index.recall_sample_count])
    kept: list[Vectors] = []
    at = 0
    embedder = open_embedder(run, embed, embed.document_tokens)
    for block in embedder.embed_blocks(texts, progress=log_progress("documents embedded")):
        kept.append(block[chosen[(chosen >= at) & (chosen < at + len(block))] - at])
        at += len(block)
    return np.concatenate(kept)


def write_index(
    run: RunRef, folder: Path, labels: Labels, queries: Vectors, index: IndexConfig, embed: EmbedConfig, clock: Clock
) -> IndexManifest:
    """Fill the folder of an index and measure its recall.

    Raises:
        IndexRefusedError: labels have no usable vector.
    """
    embedder = open_embedder(run, embed, embed.label_tokens)
    is_exact = len(labels.texts) < index.exact_below_count
    setting, form = choose_setting(run, embedder, labels, queries, index)
    clock.lap("try settings")
    form = "float32" if is_exact else form
    vectors = new_vectors(folder, len(labels.texts), queries.shape[1], form)
    blocks = embedder.embed_blocks(labels.texts, progress=log_progress("labels embedded"))
    store = Store(vectors.codes, vectors.scales, form)
    oracle = fill_index(blocks, labels.names, store, queries, max(MEASURED_KS), log_progress("labels stored"))
    clock.lap("embed labels, exact search")
    stored = StoredVectors(vectors.codes, vectors.scales)
    hashes = short_hashes(labels.text_hashes)
    if is_exact:
        recalls = measure_recall(LabelIndex(labels.label_ids, stored), oracle, MEASURED_KS)
        graph, earlier = None, None
    else:
        earlier = find_earlier(run, embedder, setting, hashes, index, queries.shape[1])
        graph, recalls = build_graph(labels, stored, oracle, setting, earlier, index)
        clock.lap("graph")
        save_graph(folder, graph.index, graph.rows)
    manifest = describe(labels, index, embedder, form, graph, recalls, oracle, earlier)
    save_labels(folder, labels.label_ids, hashes, manifest)
    clock.lap("recall")
    return manifest


def choose_setting(
    run: RunRef, embedder: CachedEmbedder, labels: Labels, queries: Vectors, index: IndexConfig
) -> tuple[GraphSetting, VectorForm]:
    """The form, degree and expansion as set, or for a target recall the cheapest that reach it on a sample of the labels."""
    setting = GraphSetting(index.graph_form, index.connectivity, index.expansion_add, index.expansion_search)
    if index.target_recall is None or len(labels.texts) < index.exact_below_count:
        return setting, index.vector_form
    chosen = np.random.default_rng(index.seed).permutation(len(labels.texts))[:PILOT_LABELS]
    vectors = embedder.embed([labels.texts[row] for row in np.sort(chosen)], log_progress("sample of labels embedded"))
    trials = try_settings(vectors, queries, index.target_recall, index.expansion_add)
    for trial in trials:
        logger.info(
            "index: tried %s, degree %d, expansion %d, %s vectors, %d labels: recall@100 %.4f [%.4f, %.4f], %.2f CPU ms a query",
            trial.setting.form, trial.setting.connectivity, trial.setting.expansion_search, trial.vector_form, len(vectors),
            trial.recall.value, trial.recall.ci_low, trial.recall.ci_high, trial.query_ms,
        )  # fmt: skip
    best = cheapest(trials, index.target_recall)
    return best.setting, best.vector_form


def find_earlier(
    run: RunRef, embedder: CachedEmbedder, setting: GraphSetting, hashes: np.ndarray, index: IndexConfig, d_model: int
) -> Earlier | None:
    """The dataset's last index if its graph can be taken over: same embedder and graph, and few labels changed."""
    output = latest_output(run, "index") if index.keep_graph else None
    if output is None:
        return None
    path = Path(output.artifacts[0].path)
    wanted = (embedder.identity, embedder.token_count, d_model, setting.form, setting.connectivity, setting.expansion_add)
    try:
        was = load_manifest(path)
        made = (was.embedder, was.token_count, was.d_model, was.graph_form, was.connectivity, was.expansion_add)
        if made != wanted:
            return None
        files, old_hashes = load_to_change(path)
    except IndexRefusedError as exc:
        logger.warning("index: the last index cannot be updated, a new one is built: %s", exc)
        return None
    if files.graph is None:
        return None
    changes = find_changes(old_hashes, hashes)
    if changes.changed_frac > index.rebuild_above_frac:
        return None
    return Earlier(output.run_id, SearchGraph(files.graph, setting, was.graph_scale, files.graph_rows), changes)


def build_graph(
    labels: Labels, stored: StoredVectors, oracle: Oracle, setting: GraphSetting, earlier: Earlier | None, index: IndexConfig
) -> tuple[SearchGraph, dict[int, Recall]]:
    """The graph of the labels and its recall: the earlier one changed, or a new one if there is none or it falls below."""
    if earlier is not None:
        earlier.graph.renumber(earlier.changes.new_rows)
        grow_graph(earlier.graph, stored, earlier.changes.is_added, log_progress("labels added to the graph"))
        recalls = expanded_recall(labels, stored, oracle, earlier.graph, index)
        if recalls[10].value >= index.min_recall_at_10 and recalls[100].value >= index.min_recall_at_100:
            return earlier.graph, recalls
        logger.warning("index: recall@100 of the changed graph is %.4f; a new one is built", recalls[100].value)
    sample = np.random.default_rng(index.seed).permutation(len(stored))[:SCALE_SAMPLE]
    graph = new_graph(stored.take(np.sort(sample)), setting)
    grow_graph(graph, stored, np.ones(len(stored), np.bool_), log_progress("labels added to the graph"))
    return graph, expanded_recall(labels, stored, oracle, graph, index)


def expanded_recall(
    labels: Labels, stored: StoredVectors, oracle: Oracle, graph: SearchGraph, index: IndexConfig
) -> dict[int, Recall]:
    """Recall of the graph with the expansion as set, or with the smallest that reaches the target recall."""
    found = LabelIndex(labels.label_ids, stored, graph.search)
    if index.target_recall is not None:
        smallest_expansion(found, graph, oracle, index.target_recall)
    return measure_recall(found, oracle, MEASURED_KS)


def describe(
    labels: Labels,
    index: IndexConfig,
    embedder: CachedEmbedder,
    form: VectorForm,
    graph: SearchGraph | None,
    recalls: dict[int, Recall],
    oracle: Oracle,
    earlier: Earlier | None,
) -> IndexManifest:
    """The manifest of an index as built."""
    is_updated = earlier is not None and graph is earlier.graph
    made = None if graph is None else graph.setting
    return IndexManifest(
        embedder=embedder.identity,
        token_count=embedder.token_count,
        label_count=len(labels.texts),
        d_model=oracle.queries.shape[1],
        labels_hash=labels.table_hash,
        vector_form=form,
        graph_form=made.form if made else None,
        graph_scale=graph.scale if graph else 1.0,
        connectivity=made.connectivity if made else 0,
        expansion_add=made.expansion_add if made else 0,
        expansion_search=graph.expansion_search if graph else 0,
        target_recall=index.target_recall,
        recall_at_10=recalls[10].value,
        recall_at_10_ci=(recalls[10].ci_low, recalls[10].ci_high),
        recall_at_100=recalls[100].value,
        recall_at_100_ci=(recalls[100].ci_low, recalls[100].ci_high),
        recall_sample_count=len(oracle.queries),
        min_recall_at_10=index.min_recall_at_10,
        min_recall_at_100=max(index.min_recall_at_100, index.target_recall or 0.0),
        duplicate_count=int((oracle.twin_of != np.arange(len(oracle.twin_of))).sum()),
        added_count=int(earlier.changes.is_added.sum()) if earlier and is_updated else len(labels.texts),
        removed_count=int((earlier.changes.new_rows < 0).sum()) if earlier and is_updated else 0,
        updated_from=earlier.run_id if earlier and is_updated else None,
    )


def _setting(manifest: IndexManifest) -> GraphSetting:
    return GraphSetting(manifest.graph_form or "f16", manifest.connectivity, manifest.expansion_add, manifest.expansion_search)


def recall_rows(run: RunRef, manifest: IndexManifest) -> pl.DataFrame:
    """The measured recalls as rows of `out_metrics`, system `label_index`, metric `index_recall`."""
    measured = ((10, manifest.recall_at_10, manifest.recall_at_10_ci), (100, manifest.recall_at_100, manifest.recall_at_100_ci))
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
            "ci_low": interval[0],
            "ci_high": interval[1],
            "document_count": manifest.recall_sample_count,
            "seed_count": 1,
            "seed_sd": None,
        }
        for k, value, interval in measured
    ]
    return OUT_METRICS.conform(pl.DataFrame(rows, schema_overrides={"seed_sd": pl.Float64}))
