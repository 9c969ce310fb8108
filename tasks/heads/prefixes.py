"""Decoders run in two pieces: a prefix that many runs share, kept as its keys and values, and what each run adds to it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tasks.open_models.families import DecoderParts, final_states
from tasks.sequences.tokens import Tokens


@dataclass(frozen=True)
class Inputs:
    """Padded sequences; `mask` is 0 at padding, `positions` count each sequence's own tokens."""

    token_ids: Int[Tensor, "batch token"]
    mask: Int[Tensor, "batch token"]
    positions: Int[Tensor, "batch token"]


def aligned(sequences: Sequence[Tokens], marks: Sequence[int], device: torch.device) -> Inputs:
    """Sequences padded on both sides, so that position `marks[i]` of each stands at the largest of the marks."""
    start = max(marks)
    length = start + max(len(one) - mark for one, mark in zip(sequences, marks, strict=True))
    token_ids = torch.zeros((len(sequences), length), dtype=torch.int64)
    mask = torch.zeros_like(token_ids)
    for row, (one, mark) in enumerate(zip(sequences, marks, strict=True)):
        at = slice(start - mark, start - mark + len(one))
        token_ids[row, at] = torch.from_numpy(one)
        mask[row, at] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return Inputs(token_ids.to(device), mask.to(device), positions.to(device))


def run_prefix(model: PreTrainedModel, parts: DecoderParts, inputs: Inputs, length: int) -> DynamicCache:
    """Keys and values of the first `length` tokens, which may be none."""
    cache = DynamicCache(config=model.config)
    if length:
        _run_body(parts, inputs, cache, 0, length)
    return cache


def forked(cache: DynamicCache) -> DynamicCache:
    """A cache that grows on its own; what both hold is not copied, since a layer grows into new tensors."""
    fork = copy.copy(cache)
    fork.layers = [copy.copy(layer) for layer in cache.layers]
    return fork


def run_rest(
    parts: DecoderParts, inputs: Inputs, cache: DynamicCache, start: int, rows: Tensor
) -> Float[Tensor, "batch row d_model"]:
    """Final states at `rows` of the tokens from `start` on, row 0 the first of them.

    Args:
        parts: of the decoder.
        inputs: whole sequences.
        cache: of their first `start` tokens; it is left as it is.
        start: where the run goes on.
        rows: positions [batch, row] from `start` on.
    """
    states: list[Tensor] = []
    with final_states(parts, rows, states.append):
        _run_body(parts, inputs, forked(cache), start, inputs.token_ids.shape[1])
    return states[0]


def _run_body(parts: DecoderParts, inputs: Inputs, cache: DynamicCache, start: int, end: int) -> None:
    """Run the decoder without its read-out, which only BERT's final layers come with."""
    with torch.no_grad():
        parts.body(
            input_ids=inputs.token_ids[:, start:end],
            attention_mask=inputs.mask[:, :end],
            position_ids=inputs.positions[:, start:end],
            past_key_values=cache,
            use_cache=True,
        )
