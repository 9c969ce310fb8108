"""What a new label set changes in an index: which labels stay, under which row, which leave and which are new."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.labels.search import Rows

TextHashes = NDArray[np.uint64]
"""Two 64-bit numbers a text, [text, 2]: the first half of its SHA-256."""


def short_hashes(hashes: Sequence[str]) -> TextHashes:
    """The first 128 bits of SHA-256 digests in hex."""
    return np.frombuffer(b"".join(bytes.fromhex(text_hash[:32]) for text_hash in hashes), dtype=np.uint64).reshape(-1, 2)


@dataclass(frozen=True)
class Changes:
    """`new_rows` says for each old row where its label is now, -1 if it left; `is_added` says which new rows are new."""

    new_rows: Rows
    is_added: NDArray[np.bool_]

    @property
    def changed_frac(self) -> float:
        """Labels that left and labels that came, as a share of the old ones."""
        left = int((self.new_rows < 0).sum())
        return (left + int(self.is_added.sum())) / max(len(self.new_rows), 1)


def find_changes(old: TextHashes, new: TextHashes) -> Changes:
    """Match two label sets by text; of labels with one text the first stays the first, the second the second."""
    kept = _numbered(old).join(_numbered(new), on=["a", "b", "again"], suffix="_new").sort("row")
    new_rows = np.full(len(old), -1, np.int32)
    new_rows[kept["row"].to_numpy()] = kept["row_new"].to_numpy()
    is_added = np.ones(len(new), np.bool_)
    is_added[kept["row_new"].to_numpy()] = False
    return Changes(new_rows, is_added)


def _numbered(hashes: TextHashes) -> pl.DataFrame:
    frame = pl.DataFrame({"a": hashes[:, 0], "b": hashes[:, 1]}).with_row_index("row")
    return frame.with_columns(again=pl.int_range(pl.len()).over("a", "b"))
