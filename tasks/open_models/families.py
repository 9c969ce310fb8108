"""Where a Hugging Face decoder keeps what the analyses touch: attention, its output projection, blocks and read-out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from schemas.errors import ModelRefusedError

Find = Callable[[Any], tuple[Any, Any]]  # a block -> its module that attends, and the projection of what it read


@dataclass(frozen=True)
class Family:
    """How models of one build name their parts; `blocks` and `final` are attribute paths."""

    name: str
    blocks: str
    final: str
    parts_of: Find


FAMILIES = (
    Family("llama", "model.layers", "model.norm", lambda block: (block.self_attn, block.self_attn.o_proj)),
    Family("gpt2", "transformer.h", "transformer.ln_f", lambda block: (block.attn, block.attn.c_proj)),
    Family("gpt_neox", "gpt_neox.layers", "gpt_neox.final_layer_norm", lambda block: (block.attention, block.attention.dense)),
    Family(
        "bert",
        "bert.encoder.layer",
        "cls.predictions.transform",
        lambda block: (block.attention.self, block.attention.output.dense),
    ),
)
"""`llama` is every model with `model.layers[i].self_attn.o_proj`: Llama, Qwen 2 and 3, Mistral, and most that followed."""


@dataclass(frozen=True)
class DecoderParts:
    """The parts of one decoder, by layer.

    `final` is the module that the final state h_final enters; `body` is the smallest model that holds all of these but `readout`,
    so that no logits need be computed where none are read.
    """

    family: str
    body: nn.Module
    blocks: tuple[nn.Module, ...]
    attentions: tuple[nn.Module, ...]
    projections: tuple[nn.Module, ...]
    final: nn.Module
    readout: nn.Module
    head_count: int
    d_head: int
    d_model: int

    @property
    def layer_count(self) -> int:
        """Layers of the decoder."""
        return len(self.blocks)

    def write_weights(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """Each head's slice of the output projection: a head's write is its output times its slice, without the bias."""
        projection = self.projections[layer]
        weight: Tensor = projection.weight  # type: ignore[assignment]
        rows = weight.T if isinstance(projection, nn.Linear) else weight  # GPT-2's Conv1D keeps (in, out)
        return rows.reshape(self.head_count, self.d_head, self.d_model)

    def write_bias(self, layer: int) -> Tensor | None:
        """The output projection's bias, which belongs to no head; null if it has none."""
        bias: Tensor | None = self.projections[layer].bias  # type: ignore[assignment]
        return bias

    def token_rows(self, token_ids: Tensor) -> Float[Tensor, "... d_model"]:
        """Rows of the read-out matrix: the logit of a token is its row times the normed final state, plus its bias."""
        weight: Tensor = self.readout.weight  # type: ignore[assignment]
        return weight[token_ids]


def find_parts(model: nn.Module) -> DecoderParts:
    """The parts of a decoder.

    Raises:
        ModelRefusedError: its architecture is none of `FAMILIES`, it is no decoder, or its attention cannot be recorded.
    """
    name = type(model).__name__
    family = next((family for family in FAMILIES if _get(model, family.blocks) is not None), None)
    final = _get(model, family.final) if family else None
    if family is None or final is None:
        known = ", ".join(f"{family.name} ({family.blocks})" for family in FAMILIES)
        raise ModelRefusedError(f"{name}: its layers are not found where decoders of these families have them: {known}")
    config: Any = model.config
    if family.name == "bert" and not config.is_decoder:
        raise ModelRefusedError(f"{name}: is_decoder is false, so every token sees those after it; a decoder is needed")
    blocks = tuple(_get(model, family.blocks))
    found = [family.parts_of(block) for block in blocks]
    if any(getattr(attention, "sinks", None) is not None for attention, _ in found):
        raise ModelRefusedError(f"{name}: its attention has sinks beside the keys, so its rows do not sum to 1; not supported")
    head_count = int(config.num_attention_heads)
    d_head = _input_size(found[0][1]) // head_count
    readout: Any = model.get_output_embeddings()  # type: ignore[operator]
    if readout is None:
        raise ModelRefusedError(f"{name}: has no language-model head; load it with AutoModelForCausalLM")
    attentions, projections = tuple(a for a, _ in found), tuple(p for _, p in found)
    inner: nn.Module = model.base_model  # type: ignore[assignment]
    body = inner if any(module is final for module in inner.modules()) else model
    d_model = int(config.hidden_size)
    return DecoderParts(family.name, body, blocks, attentions, projections, final, readout, head_count, d_head, d_model)


def _get(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name, None)
    return model


def _input_size(projection: Any) -> int:
    return int(projection.in_features if isinstance(projection, nn.Linear) else projection.weight.shape[0])


@contextmanager
def final_states(parts: DecoderParts, rows: Tensor, keep: Callable[[Float[Tensor, "batch row d_model"]], None]) -> Iterator[None]:
    """Hand the final states at `rows` [batch, row] to `keep` in every forward pass of the block."""

    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        keep(take_rows(inputs[0], rows.to(inputs[0].device)))

    handle = parts.final.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def take_rows(states: Float[Tensor, "batch token d"], rows: Tensor) -> Float[Tensor, "batch row d"]:
    """The states at positions `rows` [batch, row]."""
    return states.gather(1, rows[:, :, None].expand(-1, -1, states.shape[2]))


TokenRows = Callable[[Tensor], Tensor]
"""Token ids -> their rows of the read-out matrix."""


def margins(
    parts: DecoderParts, states: Float[Tensor, "batch row d_model"], pairs: Tensor, token_rows: TokenRows | None = None
) -> Float[Tensor, "batch row"]:
    """Logit of the first token of a pair minus logit of the second, read from final states, in float32 or finer.

    Args:
        parts: the decoder.
        states: final states h_final, as they enter `parts.final`.
        pairs: token ids [batch, row, 2]: target, near miss.
        token_rows: of a decoder that reads out by another matrix than `parts.readout` holds; null: that one's.
    """
    precision = torch.promote_types(states.dtype, torch.float32)
    weights = {name: weight.to(precision) for name, weight in parts.final.named_parameters()}
    here = next(iter(weights.values())).device  # where a model is spread over devices, the last norm and the read-out may differ
    normed: Tensor = functional_call(parts.final, weights, (states.to(here, precision),))
    rows = (token_rows or parts.token_rows)(pairs.to(parts.readout.weight.device)).to(here, precision)  # type: ignore[arg-type]
    bias: Tensor | None = getattr(parts.readout, "bias", None)
    offset = 0.0 if bias is None else (bias[pairs[..., 0].to(bias.device)] - bias[pairs[..., 1].to(bias.device)]).to(rows)
    return (normed * (rows[..., 0, :] - rows[..., 1, :])).sum(-1) + offset


def margin_gradients(
    parts: DecoderParts, states: Float[Tensor, "batch row d_model"], pairs: Tensor, token_rows: TokenRows | None = None
) -> tuple[Float[Tensor, "batch row"], Float[Tensor, "batch row d_model"]]:
    """The margins, and their gradients at the final states: through the last norm and two rows of the read-out, no further.

    Source: OV-helpfulness of Saha Roy et al., arXiv 2606.06840: grad_{h_final(q)} margin(q).
    """
    with torch.enable_grad():
        leaf = states.detach().to(torch.promote_types(states.dtype, torch.float32)).requires_grad_()
        margin = margins(parts, leaf, pairs, token_rows)
        (gradient,) = torch.autograd.grad(margin.sum(), leaf)
    return margin.detach(), gradient
