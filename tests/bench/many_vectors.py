"""A million label vectors made from real ones: each new one lies between a label and one of its 20 nearest, with noise.

The noise (a third of a vector's length) sets a new label apart from both; the real ones come first, as they are.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.labels.search import NearestSoFar

Vectors = NDArray[np.float32]
NEAREST = 20
NOISE = 0.35
BLOCK = 32_768


def nearest_rows(real: Vectors, count: int) -> NDArray[np.int32]:
    """Rows of the nearest other vectors, [vector, count]."""
    rows = np.empty((len(real), count), np.int32)
    numbers = np.arange(len(real), dtype=np.int32)
    for start in range(0, len(real), 512):
        nearest = NearestSoFar(real[start : start + 512], count + 1)
        nearest.see(numbers, real)
        for at, found in enumerate(nearest.ranking.label_ids):
            rows[start + at] = found[found != start + at][:count]
    return rows


def write_vectors(path: Path, real: Vectors, count: int, seed: int = 0) -> None:
    """Unit vectors [count, dimension] in a `.npy` file, written a block at a time."""
    draw = np.random.default_rng(seed)
    near = nearest_rows(real, NEAREST) if count > len(real) else np.zeros((0, 0), np.int32)
    out = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), (count, real.shape[1]))
    out[: len(real)] = real[:count]
    for start in range(min(len(real), count), count, BLOCK):
        rows = draw.integers(0, len(real), min(BLOCK, count - start))
        others = near[rows, draw.integers(0, NEAREST, len(rows))]
        share = draw.uniform(0.3, 0.7, (len(rows), 1)).astype(np.float32)
        made = unit(share * real[rows] + (1 - share) * real[others])
        noise = draw.standard_normal(made.shape, dtype=np.float32) * np.float32(NOISE / real.shape[1] ** 0.5)
        out[start : start + len(rows)] = unit(made + noise)
    out.flush()


def unit(vectors: Vectors) -> Vectors:
    """The vectors at length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def write_exact(path: Path, vectors: Vectors, queries: Vectors, k: int) -> None:
    """Rows of the k nearest vectors of each query, [query, k], in a `.npy` file."""
    nearest = NearestSoFar(queries, k)
    for start in range(0, len(vectors), BLOCK):
        block = np.array(vectors[start : start + BLOCK])
        nearest.see(np.arange(start, start + len(block), dtype=np.int32), block)
    np.save(path, nearest.ranking.label_ids)
