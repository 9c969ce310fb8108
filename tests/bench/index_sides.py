"""One side of the label-index benchmark in a process of its own: `build` an index and save it, or `serve` a saved one.

`python -m tests.bench.index_sides build|serve SIDE FOLDER COUNT`: FOLDER holds vectors.npy, queries.npy and exact-COUNT.npy.
Prints one line of JSON. Memory is what the process grew by; vectors are read block by block, so that they do not count.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.labels.search import LabelIndex, NearestSoFar
from tasks.labels.vectors import StoredVectors, encode_rows
from tests.bench.many_vectors import BLOCK

if TYPE_CHECKING:
    from tasks.labels.graph import GraphForm, SearchGraph

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
K, DEGREE = 100, 16
USUAL_EXPANSION_ADD, OURS_EXPANSION_ADD = 128, 256
"""Candidates while building: ours builds faster, and spends a part of that on recall."""

EXPANSIONS = (120, 128, 136, 144, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048)
ENOUGH = 0.99
ADDED = 1000
THREADS = os.cpu_count() or 1 if not hasattr(os, "sched_getaffinity") else len(os.sched_getaffinity(0))


def blocks(path: Path, count: int) -> Iterator[tuple[int, Vectors]]:
    """The first `count` vectors of a `.npy` file, with the row each block begins at; nothing stays in memory."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        for start in range(0, count, BLOCK):
            rows = min(BLOCK, count - start)
            yield start, np.fromfile(file, dtype, rows * shape[1]).reshape(rows, shape[1])


def resident_mb() -> float:
    """Memory of this process, MB, memory-mapped files included."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


class Ours:
    """The project's index: an 8-bit usearch graph, rescored from stored vectors.

    usearch is imported here alone: a process that has imported it crashes in faiss (usearch 2.26, faiss 1.15).
    """

    def __init__(self, form: "GraphForm", is_rescored: bool, expansion_add: int = USUAL_EXPANSION_ADD) -> None:
        from tasks.labels.graph import GraphSetting

        self._setting = GraphSetting(form, DEGREE, expansion_add, EXPANSIONS[0])
        self._is_rescored = is_rescored
        self._graph: SearchGraph | None = None

    def build(self, path: Path, count: int, folder: Path) -> None:
        from tasks.labels.filling import grow_graph
        from tasks.labels.graph import new_graph

        codes = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.dtype(np.int8), (count, 384))
        scales = np.zeros(count, np.float32)
        for start, block in blocks(path, count):
            self._graph = self._graph or new_graph(block, self._setting)
            rows = np.arange(start, start + len(block), dtype=np.int32)
            if self._is_rescored:
                codes[rows], scales[rows] = encode_rows(block, "int8")
            else:
                self._graph.add(rows, block)
        assert self._graph is not None
        if self._is_rescored:
            grow_graph(self._graph, StoredVectors(codes, scales), np.ones(count, np.bool_), lambda done, total: None)
            np.save(folder / "graph_rows.npy", self._graph.rows)
        codes.flush()
        if not self._is_rescored:
            (folder / "vectors.npy").unlink()
        np.save(folder / "scales.npy", scales)
        self._graph.index.save(str(folder / "graph"))
        (folder / "scale.json").write_text(json.dumps(self._graph.scale))

    def load(self, folder: Path, count: int, is_view: bool = True) -> None:
        from usearch.index import Index

        from tasks.labels.graph import SearchGraph

        index = Index.restore(str(folder / "graph"), view=is_view)
        assert index is not None
        scale = json.loads((folder / "scale.json").read_text())
        rows = np.load(folder / "graph_rows.npy") if self._is_rescored else np.arange(len(index), dtype=np.int32)
        self._graph = SearchGraph(index, self._setting, scale, rows)
        if self._is_rescored:
            stored = StoredVectors(np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "scales.npy"))
            self._index = LabelIndex(np.arange(count, dtype=np.int32), stored, self._graph.search)

    def search(self, queries: Vectors, expansion: int) -> Rows:
        assert self._graph is not None
        self._graph.expand(expansion)
        found = self._index.search(queries, K).label_ids if self._is_rescored else self._graph.search(queries, K)[:, :K]
        return found.astype(np.int64)

    def add(self, folder: Path, count: int, vectors: Vectors) -> None:
        """More labels at the end, in the graph and the stored vectors, saved again."""
        assert self._graph is not None
        self._graph.add(np.arange(count, count + len(vectors), dtype=np.int32), vectors)
        codes, scales = encode_rows(vectors, "int8")
        old = np.load(folder / "vectors.npy", mmap_mode="r")
        np.save(folder / "vectors-new.npy", np.concatenate([old, codes]))
        np.save(folder / "scales.npy", np.concatenate([np.load(folder / "scales.npy"), scales]))
        (folder / "vectors-new.npy").replace(folder / "vectors.npy")
        self._graph.index.save(str(folder / "graph"))
        np.save(folder / "graph_rows.npy", self._graph.rows)


class Hnswlib:
    """hnswlib, float32."""

    def build(self, path: Path, count: int, folder: Path) -> None:
        import hnswlib  # type: ignore[import-untyped]

        index = hnswlib.Index("ip", 384)
        index.init_index(count, M=DEGREE, ef_construction=USUAL_EXPANSION_ADD)
        index.set_num_threads(THREADS)
        for start, block in blocks(path, count):
            index.add_items(block, np.arange(start, start + len(block)))
        index.save_index(str(folder / "graph"))

    def load(self, folder: Path, count: int) -> None:
        import hnswlib

        self._index = hnswlib.Index("ip", 384)
        self._index.load_index(str(folder / "graph"))
        self._index.set_num_threads(THREADS)

    def search(self, queries: Vectors, expansion: int) -> Rows:
        self._index.set_ef(expansion)
        return np.asarray(self._index.knn_query(queries, K)[0], dtype=np.int64)


class Faiss:
    """faiss HNSW: float32 (`Flat`) or 8-bit numbers (`SQ8`)."""

    def __init__(self, storage: str) -> None:
        self._storage = storage

    def build(self, path: Path, count: int, folder: Path) -> None:
        import faiss  # type: ignore[import-not-found]

        faiss.omp_set_num_threads(THREADS)
        index = faiss.index_factory(384, f"HNSW{DEGREE},{self._storage}", faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = USUAL_EXPANSION_ADD
        for _, block in blocks(path, count):
            if not index.is_trained:
                index.train(block)
            index.add(block)
        faiss.write_index(index, str(folder / "graph"))

    def load(self, folder: Path, count: int) -> None:
        import faiss

        faiss.omp_set_num_threads(THREADS)
        self._index = faiss.read_index(str(folder / "graph"))

    def search(self, queries: Vectors, expansion: int) -> Rows:
        self._index.hnsw.efSearch = expansion
        return np.asarray(self._index.search(queries, K)[1], dtype=np.int64)


class Exact:
    """A matrix product with all stored vectors."""

    def build(self, path: Path, count: int, folder: Path) -> None:
        codes = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.dtype(np.float32), (count, 384))
        for start, block in blocks(path, count):
            codes[start : start + len(block)] = block
        codes.flush()

    def load(self, folder: Path, count: int) -> None:
        self._index = LabelIndex(np.arange(count, dtype=np.int32), np.load(folder / "vectors.npy", mmap_mode="r"))

    def search(self, queries: Vectors, expansion: int) -> Rows:
        return self._index.search(queries, K).label_ids.astype(np.int64)


SIDES: dict[str, Callable[[], Any]] = {  # each side has its own class, with the same four methods
    "ours": lambda: Ours("i8", True, OURS_EXPANSION_ADD),
    "usearch f16": lambda: Ours("f16", False),
    "hnswlib": Hnswlib,
    "faiss HNSW": lambda: Faiss("Flat"),
    "faiss HNSW SQ8": lambda: Faiss("SQ8"),
    "exact": Exact,
}


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What the work gives, with its CPU and wall seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, {"cpu_s": round(time.process_time() - cpu, 3), "wall_s": round(time.perf_counter() - wall, 3)}


def overlap(found: Rows, exact: NDArray[np.int32], k: int) -> float:
    """Mean share of the exact top k among the found top k."""
    return float(np.mean([len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(found, exact, strict=True)]))


def build(side: Any, folder: Path, count: int, place: Path) -> dict[str, Any]:
    before = resident_mb()
    _, cost = timed(lambda: side.build(folder / "vectors.npy", count, place))
    size = sum(file.stat().st_size for file in place.iterdir()) / 1e6
    return {"build": cost, "grown_mb": round(resident_mb() - before), "file_mb": round(size)}


def serve(side: Any, folder: Path, count: int, place: Path) -> dict[str, Any]:
    queries, exact = np.load(folder / "queries.npy"), np.load(folder / f"exact-{count}.npy")
    before = resident_mb()
    _, load = timed(lambda: side.load(place, count))
    side.search(queries, EXPANSIONS[0])  # once untimed, so that pages are in memory on every side
    curve = []
    for expansion in EXPANSIONS if not isinstance(side, Exact) else EXPANSIONS[:1]:
        found, cost = timed(lambda expansion=expansion: side.search(queries, expansion))  # type: ignore[misc]
        per_query = {name.replace("_s", "_ms"): round(1000 * value / len(queries), 4) for name, value in cost.items()}
        recalls = {f"recall_at_{k}": round(overlap(found, exact, k), 4) for k in (10, 100)}
        curve.append({"expansion": expansion, **recalls, **per_query})
        if recalls["recall_at_100"] >= ENOUGH:
            break
    return {"load": load, "ram_mb": round(resident_mb() - before), "curve": curve}


def grow(side: Ours, folder: Path, count: int, place: Path) -> dict[str, Any]:
    """Add labels to a saved index: seconds by part, and recall before and after, at one expansion."""
    queries, exact = np.load(folder / "queries.npy"), np.load(folder / f"exact-{count}.npy")
    added = np.load(folder / "added.npy")
    _, load = timed(lambda: side.load(place, count, is_view=False))
    before = overlap(side.search(queries, 256), exact, K)
    _, add = timed(lambda: side.add(place, count, added))
    side.load(place, count + len(added))
    nearest = NearestSoFar(queries, K)
    for start, block in [*blocks(folder / "vectors.npy", count), (count, added)]:
        nearest.see(np.arange(start, start + len(block), dtype=np.int32), block)
    after = overlap(side.search(queries, 256), nearest.ranking.label_ids, K)
    itself = float((side.search(added, 256)[:, 0] == np.arange(count, count + len(added))).mean())
    return {"load": load, "add_and_save": add, "recall_before": before, "recall_after": after, "added_find_themselves": itself}


def main() -> None:
    what, name, folder, count = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    place = folder / f"{name.replace(' ', '_')}-{count}"
    place.mkdir(exist_ok=True)
    work = {"build": build, "serve": serve, "grow": grow}[what]
    sys.stdout.write(json.dumps(work(SIDES[name](), folder, count, place)) + "\n")


if __name__ == "__main__":
    main()
