"""Where the sequences of a batch have what is measured, as tensors: a position counts in the padded row."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.sequences.batches import Batch
from tasks.sequences.tokens import Positions, TokenSequence


@dataclass(frozen=True)
class Places:
    """Rows, anchors and candidates of a batch; a sequence with fewer rows than another is filled up with rows that do not count.

    `anchor_weights` take the mean over anchors minus the mean over the document; zero where a sequence has no anchors.
    """

    early: Int[Tensor, "batch early"]
    is_early: Bool[Tensor, "batch early"]
    refine: Int[Tensor, "batch refine"]
    is_refine: Bool[Tensor, "batch refine"]
    pairs: Int[Tensor, "batch refine 2"]
    anchor_weights: Float[Tensor, "batch token"]
    has_anchors: Bool[Tensor, " batch"]
    spans: Float[Tensor, "batch candidate token"]
    """1 at the tokens of a candidate's first mention."""
    kept: Float[Tensor, "batch refine candidate"]
    """Weights of the kept candidates that stand before a row, their sum 1; zero where there are none."""
    dropped: Float[Tensor, "batch refine candidate"]

    @property
    def rows(self) -> Int[Tensor, "batch row"]:
        """Rows of Q_early, then of Q_refine."""
        return torch.cat([self.early, self.refine], dim=1)

    @property
    def has_both(self) -> Bool[Tensor, "batch refine"]:
        """Rows of Q_refine with a kept and a dropped candidate before them."""
        return self.is_refine & (self.kept.sum(-1) > 0) & (self.dropped.sum(-1) > 0)

    def to(self, device: torch.device | str) -> "Places":
        """The same on a device."""
        return Places(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def find_places(sequences: Sequence[TokenSequence], batch: Batch) -> Places:
    """The places of sequences in the batch that they were padded to, on its device."""
    shape = batch.token_ids.shape
    early, is_early = _rows([one.early_rows for one in sequences], batch.offsets)
    refine, is_refine = _rows([one.refine_rows for one in sequences], batch.offsets)
    pairs = np.zeros((*refine.shape, 2), dtype=np.int64)
    spans = np.zeros((shape[0], max((len(one.candidate_spans) for one in sequences), default=0), shape[1]), dtype=np.float32)
    kept, dropped = (np.zeros((*refine.shape, spans.shape[1]), dtype=np.float32) for _ in range(2))
    weights = np.zeros(shape, dtype=np.float32)
    for place, (one, offset) in enumerate(zip(sequences, batch.offsets, strict=True)):
        pairs[place, : len(one.refine_rows)] = one.margin_tokens.reshape(-1, 2)
        _mark_spans(spans[place], one, offset)
        kept[place], dropped[place] = (_weights(one, one.is_kept == which, kept[place].shape) for which in (True, False))
        if len(one.anchors) and len(one.document):
            weights[place, one.document + offset] = -1 / len(one.document)
            weights[place, one.anchors + offset] += 1 / len(one.anchors)
    has_anchors = np.array([len(one.anchors) > 0 and len(one.document) > 0 for one in sequences])
    found = (early, is_early, refine, is_refine, pairs, weights, has_anchors, spans, kept, dropped)
    return Places(*map(torch.from_numpy, found)).to(batch.token_ids.device)


def _rows(rows: Sequence[Positions], offsets: Sequence[int]) -> tuple[Positions, Bool[np.ndarray, "batch row"]]:
    """Rows padded with the first token of their sequence, and which are none of these; at least one a sequence."""
    width = max(1, *map(len, rows))
    places = np.repeat(np.array(offsets, dtype=np.int64)[:, None], width, axis=1)
    is_row = np.arange(width) < np.array([len(one) for one in rows])[:, None]
    for place, one in enumerate(rows):
        places[place, : len(one)] += one
    return places, is_row


def _mark_spans(spans: Float[np.ndarray, "candidate token"], sequence: TokenSequence, offset: int) -> None:
    for candidate, span in enumerate(sequence.candidate_spans):
        spans[candidate, span + offset] = 1.0


def _weights(
    sequence: TokenSequence, is_chosen: Bool[np.ndarray, " candidate"], shape: tuple[int, ...]
) -> Float[np.ndarray, "refine candidate"]:
    """Of each row, the mean over the chosen candidates that are named in full before it."""
    weights = np.zeros(shape, dtype=np.float32)
    if not sequence.candidate_spans:
        return weights
    ends = np.array([span[-1] for span in sequence.candidate_spans])
    is_before = is_chosen & (ends <= sequence.refine_rows[:, None])
    count = is_before.sum(axis=1, keepdims=True)
    weights[: len(is_before), : len(ends)] = is_before / np.maximum(count, 1)
    return weights
