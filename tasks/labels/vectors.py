"""Unit vectors kept in fewer bytes: as they are, in half precision, or as 8-bit numbers with one scale a row."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
VectorForm = Literal["float32", "float16", "int8"]
Codes = NDArray[np.float32] | NDArray[np.float16] | NDArray[np.int8]
Scales = NDArray[np.float32]

INT8_MAX = 127


def encode_rows(vectors: Vectors, form: VectorForm) -> tuple[Codes, Scales]:
    """Codes [row, dimension] and one scale a row, with vector = code * scale.

    `int8` puts the largest component of a row at 127: the cosine of a float32 query with such a row is off by 3e-4 on
    average (384 dimensions, measured); half precision by 1e-5.

    Args:
        vectors: rows that are finite and not zero.
        form: how they are kept.
    """
    if form == "int8":
        scales = np.abs(vectors).max(axis=1) / np.float32(INT8_MAX)
        return np.rint(vectors / scales[:, None]).astype(np.int8), scales
    return vectors.astype(form, copy=False), np.ones(len(vectors), np.float32)


class StoredVectors:
    """Vectors in one of these forms, often memory-mapped, given back as float32 a part at a time."""

    def __init__(self, codes: Codes, scales: Scales | None = None) -> None:
        """Take codes [row, dimension] and their scales; without scales the codes are the vectors."""
        self._codes = codes
        self._scales = scales if codes.dtype == np.int8 else None

    def __len__(self) -> int:
        """How many vectors there are."""
        return len(self._codes)

    @property
    def d_model(self) -> int:
        """Dimensions of a vector."""
        return int(self._codes.shape[1])

    def take(self, rows: NDArray[np.int64] | NDArray[np.int32]) -> Vectors:
        """The vectors of these rows, one each, in order: [row, dimension]."""
        return self._decoded(self._codes[rows], None if self._scales is None else self._scales[rows])

    def block(self, start: int, stop: int) -> Vectors:
        """Vectors start to stop; no copy where they are kept as float32."""
        return self._decoded(self._codes[start:stop], None if self._scales is None else self._scales[start:stop])

    def cosines(self, queries: Vectors, rows: NDArray[np.int64] | NDArray[np.int32]) -> Vectors:
        """Cosines of each unit query with its rows, [query, row].

        One query at a time, so that its rows stay in the processor's cache: a tenth of the time of one large product.
        """
        found = np.empty(rows.shape, np.float32)
        for place, (query, own) in enumerate(zip(queries, rows, strict=True)):
            np.dot(self._codes.take(own, axis=0).astype(np.float32, copy=False), query, out=found[place])
        return found if self._scales is None else found * self._scales[rows]

    def _decoded(self, codes: Codes, scales: Scales | None) -> Vectors:
        vectors = codes.astype(np.float32, copy=False)
        return vectors if scales is None else vectors * scales[:, None]
