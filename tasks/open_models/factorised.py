"""A small Llama whose token table is a map of sentence-embedder vectors plus what each token learns of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from schemas.config import DecoderConfig
from tasks.labels.vectors import Vectors
from tasks.open_models.families import DecoderParts
from tasks.open_models.vocabulary import FIRST, PAD
from tasks.open_models.watching import watch_heads
from tasks.sequences.compact import END

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

PRIOR_SD = 0.06
"""Of the map's weights at the start: a table row then has length .7 (d_model 128), and a logit a standard deviation of .7."""

DRAWING = Lock()
"""Held where a model is made: its weights are drawn by torch's one generator, which no other thread may draw from between."""

SPARE_TOKENS = 512
"""Positions beyond the document's words; traces have some 55 tokens."""


class FactorisedDecoder(nn.Module):
    """A Llama with tied table E = V W + R: V are embedder vectors, W is learnt, and R is learnt for each token."""

    def __init__(self, body: "LlamaForCausalLM", vectors: Float[Tensor, "token d_embedder"]) -> None:
        """Take a Llama, whose own table becomes R, and one vector a token (zero for marks)."""
        super().__init__()
        self.body = body
        self.register_buffer("vectors", vectors, persistent=False)
        self.map = nn.Linear(vectors.shape[1], body.config.hidden_size, bias=False)
        nn.init.normal_(self.map.weight, std=PRIOR_SD)
        self.kept: Tensor | None = None
        """The table as `keeping_table` holds it."""

    def table(self) -> Float[Tensor, "token d_model"]:
        """The table of tokens, in and out."""
        if self.kept is not None:
            return self.kept
        mapped: Tensor = self.map(self.vectors)
        own: Tensor = self.body.model.embed_tokens.weight
        return mapped + own

    def forward(self, token_ids: Int[Tensor, "sequence token"], rows: Int[Tensor, " row"]) -> Float[Tensor, "row token"]:
        """Logits of the next token at some rows of the flattened sequences; padding must stand on the right."""
        table = self.table()
        states = self.body.model(inputs_embeds=nn.functional.embedding(token_ids, table), use_cache=False).last_hidden_state
        logits: Tensor = states.flatten(0, 1)[rows] @ table.T
        return logits


@contextmanager
def keeping_table(decoder: FactorisedDecoder) -> Iterator[None]:
    """Make the table once for all that is done within; the weights must not change there."""
    decoder.kept = decoder.table()
    try:
        yield
    finally:
        decoder.kept = None


@dataclass(frozen=True)
class Sizes:
    """How large a decoder is: layers, width of the residual stream, query heads a layer, and heads of keys and values."""

    layers: int
    d_model: int
    heads: int
    kv_heads: int


def new_decoder(settings: DecoderConfig, vectors: Float[Tensor, "token d_embedder"], trace_tokens: int) -> FactorisedDecoder:
    """A decoder of the traces' own vocabulary, its weights drawn by the seed.

    Args:
        settings: sizes and seed.
        vectors: embedder vectors by token id, zero for tokens without a text.
        trace_tokens: tokens of the longest trace that is trained on.
    """
    sizes = Sizes(settings.layers, settings.d_model, settings.heads, settings.kv_heads)
    positions = max(trace_tokens, settings.document_words + SPARE_TOKENS)
    return build_decoder(sizes, vectors, positions, FIRST.index(PAD), FIRST.index(END), settings.seed)


def build_decoder(
    sizes: Sizes, vectors: Float[Tensor, "token d_embedder"], positions: int, pad_id: int, end_id: int, seed: int
) -> FactorisedDecoder:
    """A decoder of any vocabulary, its weights drawn by the seed.

    Args:
        sizes: of its body.
        vectors: embedder vectors by token id, zero for tokens without a text.
        positions: tokens of the longest sequence.
        pad_id: stands where there is no token.
        end_id: ends what it writes.
        seed: draws its weights.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(vectors),
        hidden_size=sizes.d_model,
        intermediate_size=_feed_forward_width(sizes.d_model),
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        pad_token_id=pad_id,
        eos_token_id=end_id,
    )
    with DRAWING, torch.random.fork_rng():
        torch.manual_seed(seed)
        return FactorisedDecoder(LlamaForCausalLM(config), vectors)


def _feed_forward_width(d_model: int) -> int:
    """8/3 of the residual stream's width, a multiple of 8: three matrices then hold what two of width 4 d_model would.

    Source: Shazeer 2020, arXiv:2002.05202, as Llama uses it.
    """
    return -(-8 * d_model // 3 // 8) * 8


def centred(vectors: Float[Tensor, "text d_embedder"]) -> Float[Tensor, "text d_embedder"]:
    """Vectors less their mean, of length 1: embedders put all texts close together, which says nothing of any of them."""
    return nn.functional.normalize(vectors - vectors.mean(dim=0), dim=1)


def place_vectors(token_count: int, parts: Sequence[tuple[Sequence[int], Vectors]]) -> Float[Tensor, "token d_embedder"]:
    """One vector a token id: zero for marks, centred within each part.

    Args:
        token_count: tokens of the vocabulary.
        parts: kinds of tokens (labels, words): their ids, and an embedder vector of each.
    """
    table = torch.zeros(token_count, next(vectors.shape[1] for _, vectors in parts))
    for ids, vectors in parts:
        if len(ids):
            table[list(ids)] = centred(torch.from_numpy(np.array(vectors, dtype=np.float32)))
    return table


class _Table(nn.Module):
    """Stands for the read-out of a decoder in training: its weight is the table as it is now."""

    def __init__(self, decoder: FactorisedDecoder) -> None:
        super().__init__()
        self._decoder = (decoder,)  # a tuple, so that it is no submodule: it would hold itself

    @property
    def weight(self) -> Tensor:
        """The table of tokens."""
        return self._decoder[0].table()

    def forward(self, states: Tensor) -> Tensor:
        """Logits of states."""
        return states @ self.weight.T


class _Body(nn.Module):
    """Stands for the body of a decoder in training: token ids are looked up in the table as it is now."""

    def __init__(self, decoder: FactorisedDecoder) -> None:
        super().__init__()
        self._decoder = (decoder,)

    def forward(self, input_ids: Tensor, **kwargs: Any) -> Any:  # what transformers' models take and give
        """The final states of token ids."""
        (decoder,) = self._decoder
        return decoder.body.model(inputs_embeds=nn.functional.embedding(input_ids, decoder.table()), **kwargs)


def watch_factorised(decoder: FactorisedDecoder) -> DecoderParts:
    """The parts of a decoder in training, its heads watched; embedding and read-out go through the table as it is now."""
    return replace(watch_heads(decoder.body), body=_Body(decoder), readout=_Table(decoder))


@torch.no_grad()
def materialise(decoder: FactorisedDecoder) -> "LlamaForCausalLM":
    """The same decoder as a plain Llama, its table written out, on the CPU; the given one is not changed."""
    from transformers import LlamaForCausalLM

    with DRAWING, torch.random.fork_rng():  # a new model draws weights, although these are replaced
        plain: LlamaForCausalLM = LlamaForCausalLM(decoder.body.config)
    weights = dict(decoder.body.state_dict())
    weights["model.embed_tokens.weight"] = weights["lm_head.weight"] = decoder.table()
    plain.load_state_dict({name: weight.cpu() for name, weight in weights.items()})
    plain.train(False)
    return plain
