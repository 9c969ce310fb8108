"""Tiny random decoders of every family, on CPU, made in memory."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 97
D_MODEL, HEADS, LAYERS = 24, 4, 3
_SIZES: dict[str, Any] = {  # keyword arguments of configurations: each has types of its own
    "vocab_size": VOCABULARY, "hidden_size": D_MODEL, "intermediate_size": 40, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "max_position_embeddings": 64,
}  # fmt: skip


def tiny_decoder(family: str, seed: int = 0) -> PreTrainedModel:
    """A random decoder of `FAMILIES`, with biases and weights large enough that nothing is zero by chance.

    Norms keep their weights about 1: drawn about 0 they make queries and keys so small that attention is even to .5%, and what
    divides by its spread, as kurtosis does, is then mostly rounding.
    """
    torch.manual_seed(seed)
    model: PreTrainedModel = _MAKERS[family]()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.3) if parameter.dim() == 1 else parameter.data.mul_(8.0)
    model.train(False)
    return model


def _llama(kv_heads: int, has_bias: bool) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**_SIZES, num_key_value_heads=kv_heads, attention_bias=has_bias))


_MAKERS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: _llama(HEADS, False),
    "llama-grouped": lambda: _llama(2, True),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_SIZES, num_key_value_heads=2)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_SIZES, num_key_value_heads=2, head_dim=8)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_embd=D_MODEL, n_head=HEADS, n_layer=LAYERS, n_positions=64)
    ),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**_SIZES)),
    "bert": lambda: BertLMHeadModel(BertConfig(**_SIZES, is_decoder=True)),
}
FAMILIES = tuple(_MAKERS)
