"""Token sequences padded to one length, as tensors, and how far each was moved."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from tasks.sequences.tokens import TokenSequence

Side = Literal["left", "right"]
TokenIds = Sequence[int] | Int[np.ndarray, " token"]


@dataclass(frozen=True)
class Batch:
    """Sequences [sequence, token] padded on one side.

    `offsets` is what is added to a position of a sequence to get its place in the row: 0 where padding stands on the right.
    `position_ids` count from 0 at each sequence's first token; padding has 0.
    """

    token_ids: Int[Tensor, "sequence token"]
    attention_mask: Int[Tensor, "sequence token"]
    position_ids: Int[Tensor, "sequence token"]
    offsets: tuple[int, ...]

    def to(self, device: torch.device | str) -> "Batch":
        """The same with its tensors on a device."""
        return Batch(self.token_ids.to(device), self.attention_mask.to(device), self.position_ids.to(device), self.offsets)


def pad(sequences: Sequence[TokenIds], pad_id: int, side: Side = "right") -> Batch:
    """A batch of token ids of different lengths, on the CPU.

    Args:
        sequences: token ids; of a `TokenSequence` its `token_ids`.
        pad_id: stands where there is no token; the attention mask is 0 there.
        side: where padding stands; `left` for generation.
    """
    longest = max(map(len, sequences))
    token_ids = torch.full((len(sequences), longest), pad_id, dtype=torch.int64)
    mask, positions = torch.zeros_like(token_ids), torch.zeros_like(token_ids)
    offsets = tuple(longest - len(one) if side == "left" else 0 for one in sequences)
    for row, (one, start) in enumerate(zip(sequences, offsets, strict=True)):
        part = slice(start, start + len(one))
        token_ids[row, part] = torch.as_tensor(one, dtype=torch.int64)
        mask[row, part] = 1
        positions[row, part] = torch.arange(len(one))
    return Batch(token_ids, mask, positions, offsets)


def by_length(sequences: Sequence[TokenSequence], size: int) -> Iterator[list[int]]:
    """Places of sequences of like length, longest first, `size` at a time: batches with little padding."""
    order = sorted(range(len(sequences)), key=lambda place: -len(sequences[place].token_ids))
    for start in range(0, len(order), size):
        yield order[start : start + size]
