"""Continuations in batches are those of each prompt alone, token by token."""

import pytest
import torch
from transformers import PreTrainedModel

from tasks.sequences.generation import continue_greedily
from tests.support.tiny_decoders import VOCABULARY, tiny_decoder

PROMPTS = [[5, 6, 7, 8, 9], [10], [11, 12], [13, 14, 15]]


def one_by_one(model: PreTrainedModel, prompt: list[int], end_id: int, count: int) -> list[int]:
    """The most likely token after each whole sequence, no cache."""
    written: list[int] = []
    while len(written) < count and end_id not in written:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*prompt, *written]])).logits
        written.append(int(logits[0, -1].argmax()))
    return written


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_continue_greedily_gives_what_each_prompt_alone_would(family: str, batch_size: int) -> None:
    model = tiny_decoder(family)
    free = [one_by_one(model, prompt, VOCABULARY, 8) for prompt in PROMPTS]
    end = free[0][3]
    expected = [one_by_one(model, prompt, end, 8) for prompt in PROMPTS]
    found = continue_greedily(model, PROMPTS, 0, end, 8, batch_size)
    assert found == expected
    assert found[0][-1] == end
    assert len(found[0]) <= 4


def test_continue_greedily_tells_its_progress() -> None:
    told: list[tuple[int, int]] = []
    continue_greedily(tiny_decoder("llama"), PROMPTS, 0, 1, 2, 3, lambda done, total: told.append((done, total)))
    assert told == [(3, 4), (4, 4)]
