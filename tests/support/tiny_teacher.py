"""A causal language model built on the spot: a two-layer Llama that has learned by heart how to answer two kinds of request."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"]
MAX_STEPS, LEARNING_RATE, KNOWN_NATS = 2000, 3e-3, 0.01

Example = tuple[list[dict[str, str]], str]
"""Messages, and the answer to learn."""


def train_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")  # type: ignore[no-untyped-call]  # theirs
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def build_teacher(folder: Path, examples: Sequence[Example]) -> float:
    """Train on the examples until they are known by heart and save model and tokenizer; the worst loss, nats a token."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(
        [message["content"] for messages, _ in examples for message in messages] + [a for _, a in examples]
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    rows = [encode(tokenizer, messages, answer) for messages, answer in examples]
    losses = [float("inf")] * len(rows)
    for step in range(MAX_STEPS):
        ids, labels = rows[step % len(rows)]
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses[step % len(rows)] = loss.item()
        if max(losses) < KNOWN_NATS:
            break
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return max(losses)


def encode(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, str]], answer: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels [1, pos]; the prompt is no target."""
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(answer + "<|end|>", add_special_tokens=False)["input_ids"]
    ids = torch.tensor([prompt_ids + answer_ids])
    labels = torch.tensor([[-100] * len(prompt_ids) + answer_ids])
    return ids, labels
