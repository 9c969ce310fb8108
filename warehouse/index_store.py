"""A label index on disk: vectors, label numbers, the usearch graph if there is one, and a manifest."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from usearch.index import BatchMatches, Index

from schemas.errors import IndexRefusedError
from warehouse.atomic import fresh_dir

Vectors = NDArray[np.float32]
Rows = NDArray[np.int32]
Search = Callable[[Vectors, int], Rows]


class IndexManifest(BaseModel):
    """What an index was made from, how, and how well it finds what exact search finds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str
    token_count: int
    label_count: int
    d_model: int
    labels_hash: str
    is_exact: bool
    connectivity: int
    expansion_add: int
    expansion_search: int
    recall_at_10: float
    recall_at_100: float
    recall_sample_count: int
    min_recall_at_10: float
    min_recall_at_100: float


def build_graph(vectors: Vectors, connectivity: int, expansion_add: int, expansion_search: int) -> Index:
    """The usearch graph over unit vectors, keys are rows, half-precision storage."""
    index = Index(
        ndim=vectors.shape[1],
        metric="cos",
        dtype="f16",
        connectivity=connectivity,
        expansion_add=expansion_add,
        expansion_search=expansion_search,
    )
    index.add(np.arange(len(vectors), dtype=np.uint64), vectors)
    return index


def graph_search(index: Index) -> Search:
    """Search in a usearch graph as rows [query, k], -1 where it found fewer (usearch pads with key 0)."""

    def search(queries: Vectors, k: int) -> Rows:
        found = cast(BatchMatches, index.search(np.atleast_2d(queries), k))
        keys = found.keys.astype(np.int32)
        counts = found.counts
        keys[np.arange(keys.shape[1])[None, :] >= counts[:, None]] = -1
        return keys

    return search


def save_index(path: Path, label_ids: Rows, vectors: Vectors, graph: Index | None, manifest: IndexManifest) -> None:
    """Write the index folder whole; an older one at `path` stays until the new one is complete.

    Raises:
        StorageError: the folder cannot be written.
    """
    with fresh_dir(path) as folder:
        np.save(folder / "label_ids.npy", label_ids)
        np.save(folder / "vectors.npy", vectors)
        if graph is not None:
            graph.save(str(folder / "graph.usearch"))
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2), encoding="utf-8")


def load_manifest(path: Path) -> IndexManifest:
    """The index's manifest.

    Raises:
        IndexRefusedError: there is no readable index at `path`.
    """
    try:
        return IndexManifest.model_validate_json((path / "manifest.json").read_bytes())
    except (OSError, ValueError) as exc:
        raise IndexRefusedError(f"label index {path} is missing or damaged ({exc}); run `ctd index` again") from exc


def load_index(path: Path, labels_hash: str) -> tuple[Rows, Vectors, Search | None, IndexManifest]:
    """Label numbers, memory-mapped vectors, the approximate search if there is one, and the manifest.

    Raises:
        IndexRefusedError: the index is damaged, below its recall floor, or of another label set.
    """
    manifest = load_manifest(path)
    if manifest.labels_hash != labels_hash:
        raise IndexRefusedError(
            f"label index {path}: made for label set {manifest.labels_hash[:12]}, asked to serve {labels_hash[:12]}; "
            "run `ctd index` again"
        )
    refuse_low_recall(path, manifest)
    try:
        label_ids = np.load(path / "label_ids.npy")
        vectors = np.load(path / "vectors.npy", mmap_mode="r")
        graph = None if manifest.is_exact else Index.restore(str(path / "graph.usearch"), view=True)
    except (OSError, ValueError, RuntimeError) as exc:
        raise IndexRefusedError(f"label index {path} is damaged ({exc}); run `ctd index` again") from exc
    if len(vectors) != manifest.label_count or (not manifest.is_exact and graph is None):
        raise IndexRefusedError(f"label index {path} is damaged: files and manifest differ; run `ctd index` again")
    if graph is None:
        return label_ids, vectors, None, manifest
    graph.expansion_search = manifest.expansion_search  # type: ignore[misc]  # the stub lacks the setter
    return label_ids, vectors, graph_search(graph), manifest


def refuse_low_recall(path: Path, manifest: IndexManifest) -> None:
    """Refuse an index below its floor.

    Raises:
        IndexRefusedError: a measured recall is below the floor in force when it was built.
    """
    pairs = ((10, manifest.recall_at_10, manifest.min_recall_at_10), (100, manifest.recall_at_100, manifest.min_recall_at_100))
    for k, seen, floor in pairs:
        if seen < floor:
            raise IndexRefusedError(
                f"label index {path}: recall@{k} {seen:.4f} on {manifest.recall_sample_count} queries is below its floor "
                f"index.min_recall_at_{k} = {floor}; raise index.expansion_search or index.connectivity and index again"
            )
