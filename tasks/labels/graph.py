"""The approximate search: a usearch graph over vectors of few bits, whose finds are rescored with finer vectors.

Each node has a key that it keeps for life; `rows` says which row of the label index a key is now, so that labels can be
added and removed without building the graph anew.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pyarrow  # noqa: F401  before usearch: loaded after it, Arrow aborts the process when it prints a timestamp
from numpy.typing import NDArray
from usearch.index import Index, Matches

from tasks.labels.search import Rows
from tasks.labels.vectors import INT8_MAX, Vectors

GraphForm = Literal["i8", "f16", "b1"]

SPARE = 20
"""Finds beyond k that are rescored: 20 give the recall that 100 give, at k = 100 among 100,000 labels (i8, measured)."""

CLIP_QUANTILE = 0.9999
"""Share of components that an i8 graph tells apart; the few beyond are cut. usearch's own i8 spends 127 steps on 0 to 1,
where a component of a 384-dimensional unit vector is about .05."""


@dataclass(frozen=True)
class GraphSetting:
    """How a graph is built and searched."""

    form: GraphForm
    connectivity: int
    expansion_add: int
    expansion_search: int


def i8_scale(vectors: Vectors) -> float:
    """The factor that spreads the components of a sample of vectors over -127 to 127."""
    clip = float(np.quantile(np.abs(vectors), CLIP_QUANTILE))
    return INT8_MAX / clip if clip > 0 else float(INT8_MAX)


def empty_graph(d_model: int, setting: GraphSetting) -> Index:
    """A usearch graph without nodes."""
    metric = "hamming" if setting.form == "b1" else "ip"
    return Index(
        ndim=d_model,
        metric=metric,
        dtype=setting.form,
        connectivity=setting.connectivity,
        expansion_add=setting.expansion_add,
        expansion_search=setting.expansion_search,
    )


class SearchGraph:
    """A usearch graph with the rows its keys stand for; a key of a removed label has row -1."""

    def __init__(self, index: Index, setting: GraphSetting, scale: float, rows: Rows) -> None:
        """Take a graph, whose keys are 0 to `len(rows)` - 1, and the factor of its `i8` numbers."""
        self.index = index
        self.rows = rows
        self.scale = scale
        self.setting = setting
        self.expand(setting.expansion_search)

    def expand(self, expansion_search: int) -> None:
        """Search with so many open candidates from now on."""
        cast(Any, self.index).expansion_search = expansion_search  # the stub lacks the setter

    @property
    def expansion_search(self) -> int:
        """Open candidates of a search."""
        return int(self.index.expansion_search)

    def add(self, rows: Rows, vectors: Vectors) -> None:
        """Add unit vectors; vector i stands for row `rows[i]` of the label index."""
        if not len(rows):
            return
        keys = np.arange(len(self.rows), len(self.rows) + len(rows), dtype=np.uint64)
        self.index.add(keys, self._encoded(vectors))
        self.rows = np.concatenate([self.rows, rows.astype(np.int32)])

    def renumber(self, new_rows: Rows) -> int:
        """Give every key the row `new_rows` has for its old one; keys whose new row is -1 leave the graph.

        Returns:
            How many left.
        """
        moved = np.where(self.rows < 0, np.int32(-1), new_rows[np.maximum(self.rows, 0)]).astype(np.int32)
        gone = np.flatnonzero((self.rows >= 0) & (moved < 0))
        if len(gone):
            self.index.remove(gone.astype(np.uint64))
        self.rows = moved
        return len(gone)

    def search(self, queries: Vectors, k: int) -> Rows:
        """At least k rows of the label index a unit query, [query, row], best first, -1 where it found fewer."""
        width = k + SPARE if self.setting.form != "b1" else max(k + SPARE, self.expansion_search)
        found = self.index.search(self._encoded(np.atleast_2d(queries)), min(width, len(self.index)))
        counts = [len(found.keys)] if isinstance(found, Matches) else found.counts  # one query alone is answered without padding
        keys = found.keys.reshape(len(queries), -1).astype(np.int64)
        is_found = np.arange(keys.shape[1])[None, :] < np.asarray(counts).reshape(-1, 1)  # usearch pads with key 0
        return np.asarray(np.where(is_found, self.rows[np.where(is_found, keys, 0)], -1), dtype=np.int32)

    def _encoded(self, vectors: Vectors) -> NDArray[Any]:  # int8, float16 or packed bits
        if self.setting.form == "i8":
            return np.asarray(np.clip(np.rint(vectors * np.float32(self.scale)), -INT8_MAX, INT8_MAX), np.int8)
        return np.asarray(vectors, np.float16) if self.setting.form == "f16" else np.packbits(vectors > 0, axis=1)


def new_graph(sample: Vectors, setting: GraphSetting) -> SearchGraph:
    """A graph without nodes for vectors like these."""
    return SearchGraph(empty_graph(sample.shape[1], setting), setting, i8_scale(sample), np.zeros(0, np.int32))
