"""Greedy continuations of prompts by any causal decoder, a batch of like lengths at a time."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tasks.sequences.batches import pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TokenIds = Sequence[int]
Process = Callable[[Any, Any], Any]
"""(token ids [sequence, token], scores [sequence, token]) -> scores of the next tokens, as `generate` takes them."""


def continue_greedily(
    model: "PreTrainedModel",
    prompts: Sequence[TokenIds],
    pad_id: int,
    end_id: int,
    max_new_tokens: int,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
    process: Callable[[Sequence[int]], Sequence[Process]] | None = None,
) -> list[list[int]]:
    """What the model writes after each prompt, in order, up to and with `end_id`; without it, it did not end.

    Args:
        model: any Hugging Face causal decoder; prompts go to its device.
        prompts: token ids, none empty.
        pad_id: stands before shorter prompts of a batch, masked.
        end_id: ends a continuation.
        max_new_tokens: most tokens a continuation.
        batch_size: prompts a batch.
        progress: told (done, total) prompts.
        process: places of a batch's prompts -> what changes the scores of its next tokens.
    """
    order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
    written: dict[int, list[int]] = {}
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        batch = pad([prompts[place] for place in places], pad_id, "left").to(model.device)
        with torch.inference_mode():
            out = model.generate(  # type: ignore[operator]
                input_ids=batch.token_ids,
                attention_mask=batch.attention_mask,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=pad_id,
                eos_token_id=end_id,
                logits_processor=list(process(places)) if process else None,
            )
        for place, row in zip(places, out[:, batch.token_ids.shape[1] :].tolist(), strict=True):
            written[place] = row[: row.index(end_id) + 1] if end_id in row else row
        if progress:
            progress(len(written), len(prompts))
    return [written[place] for place in range(len(prompts))]
