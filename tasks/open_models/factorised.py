"""A small Llama whose token table is a map of sentence-embedder vectors plus what each token learns of its own."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from schemas.config import DecoderConfig
from tasks.open_models.vocabulary import FIRST, PAD
from tasks.sequences.compact import END

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

PRIOR_SD = 0.06
"""Of the map's weights at the start: a table row then has length .7 (d_model 128), and a logit a standard deviation of .7."""

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

    def table(self) -> Float[Tensor, "token d_model"]:
        """The table of tokens, in and out."""
        mapped: Tensor = self.map(self.vectors)
        own: Tensor = self.body.model.embed_tokens.weight
        return mapped + own

    def forward(self, token_ids: Int[Tensor, "sequence token"], rows: Int[Tensor, " row"]) -> Float[Tensor, "row token"]:
        """Logits of the next token at some rows of the flattened sequences; padding must stand on the right."""
        table = self.table()
        states = self.body.model(inputs_embeds=nn.functional.embedding(token_ids, table), use_cache=False).last_hidden_state
        logits: Tensor = states.flatten(0, 1)[rows] @ table.T
        return logits


def new_decoder(settings: DecoderConfig, vectors: Float[Tensor, "token d_embedder"], trace_tokens: int) -> FactorisedDecoder:
    """A decoder with weights drawn by the seed.

    Args:
        settings: sizes and seed.
        vectors: embedder vectors by token id, zero for tokens without a text.
        trace_tokens: tokens of the longest trace that is trained on.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(vectors),
        hidden_size=settings.d_model,
        intermediate_size=_feed_forward_width(settings.d_model),
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=max(trace_tokens, settings.document_words + SPARE_TOKENS),
        tie_word_embeddings=True,
        bos_token_id=None,
        pad_token_id=FIRST.index(PAD),
        eos_token_id=FIRST.index(END),
    )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return FactorisedDecoder(LlamaForCausalLM(config), vectors)


def _feed_forward_width(d_model: int) -> int:
    """8/3 of the residual stream's width, a multiple of 8: three matrices then hold what two of width 4 d_model would.

    Source: Shazeer 2020, arXiv:2002.05202, as Llama uses it.
    """
    return -(-8 * d_model // 3 // 8) * 8


def centred(vectors: Float[Tensor, "text d_embedder"]) -> Float[Tensor, "text d_embedder"]:
    """Vectors less their mean, of length 1: embedders put all texts close together, which says nothing of any of them."""
    return nn.functional.normalize(vectors - vectors.mean(dim=0), dim=1)


@torch.no_grad()
def materialise(decoder: FactorisedDecoder) -> "LlamaForCausalLM":
    """The same decoder as a plain Llama, its table written out, on the CPU; the given one is not changed."""
    from transformers import LlamaForCausalLM

    plain: LlamaForCausalLM = LlamaForCausalLM(decoder.body.config)
    weights = dict(decoder.body.state_dict())
    weights["model.embed_tokens.weight"] = weights["lm_head.weight"] = decoder.table()
    plain.load_state_dict({name: weight.cpu() for name, weight in weights.items()})
    plain.train(False)
    return plain
