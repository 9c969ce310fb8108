"""A decoder of compact texts built on the spot: a two-layer Llama that has learned some texts by heart."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.open_models.vocabulary import Vocabulary, make_tokenizer
from tasks.sequences.compact import SHORTLIST

MAX_STEPS, LEARNING_RATE, KNOWN_NATS = 1000, 3e-3, 0.01


def build_compact_decoder(folder: Path, vocabulary: Vocabulary, document_words: int, texts: Sequence[str]) -> float:
    """Train on whole compact texts until they are known and save model and tokenizer; the last loss, nats a token."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(vocabulary, document_words)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256, bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    rows = [torch.tensor([tokenizer(text)["input_ids"]]) for text in texts]
    opens = int(tokenizer.get_vocab()[SHORTLIST])
    total = float("inf")
    for _ in range(MAX_STEPS):
        losses = [model(input_ids=ids, labels=ids.where(torch.eq(ids, opens).cumsum(1) > 0, -100)).loss for ids in rows]
        total = max(loss.item() for loss in losses)
        if total < KNOWN_NATS:
            break
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return total
