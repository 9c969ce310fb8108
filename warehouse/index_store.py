"""A label index on disk: stored vectors, label numbers, text hashes, the usearch graph if there is one, and a manifest."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow  # noqa: F401  before usearch, see tasks/labels/graph.py
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from usearch.index import Index

from schemas.errors import IndexRefusedError
from warehouse.atomic import fresh_dir

Rows = NDArray[np.int32]
VectorForm = Literal["float32", "float16", "int8"]
AGAIN = "run `ctd index` again"


class IndexManifest(BaseModel):
    """What an index was made from, how, and how well it finds what exact search finds.

    `graph_form` is null where search is an exact matrix product. `ci` are ends of 95% intervals over the queries.
    `duplicate_count`: labels whose vector an earlier label has too. `added_count` and `removed_count` say how it differs from
    the index of run `updated_from`, whose graph it took over; null if it was built from nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str
    token_count: int
    label_count: int
    d_model: int
    labels_hash: str
    vector_form: VectorForm
    graph_form: Literal["i8", "f16", "b1"] | None = None
    graph_scale: float = 1.0
    connectivity: int = 0
    expansion_add: int = 0
    expansion_search: int = 0
    target_recall: float | None = None
    recall_at_10: float
    recall_at_10_ci: tuple[float, float]
    recall_at_100: float
    recall_at_100_ci: tuple[float, float]
    recall_sample_count: int
    min_recall_at_10: float
    min_recall_at_100: float
    duplicate_count: int = 0
    added_count: int = 0
    removed_count: int = 0
    updated_from: str | None = None

    @property
    def is_exact(self) -> bool:
        """True if search compares a query with every label."""
        return self.graph_form is None


@dataclass(frozen=True)
class LabelVectors:
    """Vectors of the labels: `codes` [label, dimension] and `scales` [label], memory-mapped."""

    codes: NDArray[Any]  # float32, float16 or int8
    scales: NDArray[np.float32]


@dataclass(frozen=True)
class IndexFiles:
    """An index as read: `graph_rows` says which row each key of the graph stands for, -1 if it was removed."""

    label_ids: Rows
    vectors: LabelVectors
    manifest: IndexManifest
    graph: Index | None
    graph_rows: Rows


@contextmanager
def new_index(path: Path) -> Iterator[Path]:
    """A folder to write an index into, which takes the place of `path` when the block ends without an error.

    Raises:
        StorageError: the folder cannot be written; an older index at `path` stays as it was.
    """
    with fresh_dir(path) as folder:
        yield folder


def new_vectors(folder: Path, label_count: int, d_model: int, form: VectorForm) -> LabelVectors:
    """Vectors of zeros in the folder, memory-mapped, to be filled."""
    codes = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.dtype(form), (label_count, d_model))
    scales = np.lib.format.open_memmap(folder / "scales.npy", "w+", np.dtype(np.float32), (label_count,))
    return LabelVectors(codes, scales)


def save_labels(folder: Path, label_ids: Rows, text_hashes: NDArray[np.uint64], manifest: IndexManifest) -> None:
    """Write label numbers, hashes of their texts [label, 2] and the manifest."""
    np.save(folder / "label_ids.npy", label_ids)
    np.save(folder / "text_hashes.npy", text_hashes)
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=2), encoding="utf-8")


def save_graph(folder: Path, graph: Index, graph_rows: Rows) -> None:
    """Write the graph and the rows of its keys."""
    graph.save(str(folder / "graph.usearch"))
    np.save(folder / "graph_rows.npy", graph_rows)


def load_manifest(path: Path) -> IndexManifest:
    """The index's manifest.

    Raises:
        IndexRefusedError: there is no readable index at `path`.
    """
    try:
        return IndexManifest.model_validate_json((path / "manifest.json").read_bytes())
    except (OSError, ValueError) as exc:
        raise IndexRefusedError(f"label index {path} is missing or damaged ({exc}); {AGAIN}") from exc


def load_index(path: Path, labels_hash: str) -> IndexFiles:
    """The index of exactly this label set; vectors and graph are memory-mapped and cannot be changed.

    Raises:
        IndexRefusedError: the index is damaged, below its recall floor, or of another label set.
    """
    manifest = load_manifest(path)
    if manifest.labels_hash != labels_hash:
        raise IndexRefusedError(
            f"label index {path}: made for label set {manifest.labels_hash[:12]}, asked to serve {labels_hash[:12]}; {AGAIN}"
        )
    refuse_low_recall(path, manifest)
    return _read(path, manifest, is_view=True)


def load_to_change(path: Path) -> tuple[IndexFiles, NDArray[np.uint64]]:
    """An index whose graph is read into memory, to add and remove labels there, and the hashes of its labels' texts.

    Raises:
        IndexRefusedError: the index is damaged.
    """
    files = _read(path, load_manifest(path), is_view=False)
    try:
        return files, np.load(path / "text_hashes.npy")
    except (OSError, ValueError) as exc:
        raise IndexRefusedError(f"label index {path} is damaged ({exc}); {AGAIN}") from exc


def _read(path: Path, manifest: IndexManifest, is_view: bool) -> IndexFiles:
    try:
        label_ids = np.load(path / "label_ids.npy")
        vectors = LabelVectors(np.load(path / "vectors.npy", mmap_mode="r"), np.load(path / "scales.npy", mmap_mode="r"))
        graph = None if manifest.is_exact else Index.restore(str(path / "graph.usearch"), view=is_view)
        graph_rows = np.zeros(0, np.int32) if manifest.is_exact else np.load(path / "graph_rows.npy")
    except (OSError, ValueError, RuntimeError) as exc:
        raise IndexRefusedError(f"label index {path} is damaged ({exc}); {AGAIN}") from exc
    shape = (manifest.label_count, manifest.d_model)
    is_whole = vectors.codes.shape == shape and vectors.codes.dtype == manifest.vector_form and len(label_ids) == shape[0]
    is_whole = is_whole and len(vectors.scales) == shape[0]
    if not is_whole or (not manifest.is_exact and not _fits(graph, graph_rows, shape)):
        raise IndexRefusedError(f"label index {path} is damaged: files and manifest differ; {AGAIN}")
    return IndexFiles(label_ids, vectors, manifest, graph, graph_rows)


def _fits(graph: Index | None, graph_rows: Rows, shape: tuple[int, int]) -> bool:
    if graph is None:
        return False
    return len(graph) == shape[0] == int((graph_rows >= 0).sum()) and graph.ndim == shape[1]


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
                f"index.min_recall_at_{k} = {floor}; raise index.expansion_search or index.connectivity, or take "
                "index.vector_form = float16, and index again"
            )
