"""Attention that can be watched and patched head by head, at chosen rows only; otherwise it is plain scaled dot product.

`watch_heads` puts it into a model. Nothing keeps a whole attention map longer than its layer lasts.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from schemas.errors import ModelRefusedError
from tasks.open_models.families import DecoderParts, find_parts

NAME = "watched_heads"
Part = Literal["pattern", "output"]


@dataclass(frozen=True)
class Call:
    """What one layer's attention is called with; keys and values are still grouped, `mask` is true where a key is seen."""

    query: Float[Tensor, "batch head row d_head"]
    key: Float[Tensor, "batch group token d_head"]
    value: Float[Tensor, "batch group token d_head"]
    mask: Tensor | None
    scaling: float

    def of_heads(self, grouped: Tensor) -> Float[Tensor, "batch head token d_head"]:
        """Keys or values with every group repeated for the query heads that share it."""
        count = self.query.shape[1] // grouped.shape[1]
        return grouped if count == 1 else grouped.repeat_interleave(count, dim=1)

    def row_mask(self, rows: Tensor) -> Tensor:
        """Which keys the queries `rows` [batch, row] see: [batch, 1, row, token]."""
        if self.mask is None:
            keys = self.key.shape[2]
            seen = rows + keys - self.query.shape[2]
            return (torch.arange(keys, device=rows.device) <= seen[..., None])[:, None]
        index = rows[:, None, :, None].expand(-1, 1, -1, self.mask.shape[3])
        return self.mask.expand(rows.shape[0], -1, -1, -1).gather(2, index)

    def attention(self, rows: Tensor) -> Float[Tensor, "batch head row token"]:
        """Attention of every head at `rows` [batch, row], in float32; a row that sees no key is zero."""
        batch, heads, _, d_head = self.query.shape
        groups, keys = self.key.shape[1:3]
        queries = self.query.gather(2, rows[:, None, :, None].expand(-1, heads, -1, d_head))
        by_group = queries.reshape(batch, groups, -1, d_head)  # heads that share keys stand beside each other
        scores = (by_group @ self.key.transpose(-1, -2)).reshape(batch, heads, -1, keys) * self.scaling
        hidden = ~self.row_mask(rows)
        return scores.float().masked_fill(hidden, float("-inf")).softmax(-1).masked_fill(hidden, 0.0)


Tap = Callable[[int, Call, Callable[[], Tensor]], Tensor]
"""Layer, call and plain attention -> the output [batch, row, head, d_head] to go on with."""

_TAPS: "WeakKeyDictionary[nn.Module, tuple[int, Tap]]" = WeakKeyDictionary()


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    def plain() -> Tensor:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output

    tapped = _TAPS.get(module)
    if tapped is None:
        return plain(), None
    layer, tap = tapped
    if kwargs.get("softcap") is not None or kwargs.get("position_bias") is not None:
        raise ModelRefusedError(f"layer {layer}: attention with a soft cap or a position bias cannot be recorded")
    scaling = kwargs.get("scaling")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return tap(layer, Call(query, key, value, attention_mask, scaling), plain), None


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)  # without a mask of its own, a model with a new attention sees the future


def watch_heads(model: PreTrainedModel) -> DecoderParts:
    """Put watched attention into a decoder and find its parts; as long as nothing watches, it computes what `sdpa` does.

    Raises:
        ModelRefusedError: the architecture is not known, or takes no attention function.
    """
    parts = find_parts(model)
    try:
        model.set_attn_implementation(NAME)
    except ValueError as exc:
        raise ModelRefusedError(f"{type(model).__name__}: takes no attention function of ours: {exc}") from exc
    return parts


@contextmanager
def _tapped(parts: DecoderParts, tap: Tap) -> Iterator[None]:
    if any(module in _TAPS for module in parts.attentions):
        raise RuntimeError("these heads are watched already; one watch at a time")
    for layer, module in enumerate(parts.attentions):
        _TAPS[module] = (layer, tap)
    try:
        yield
    finally:
        for module in parts.attentions:
            del _TAPS[module]


@dataclass(frozen=True)
class LayerRecord:
    """What one layer did at the chosen rows, on its device; `state` is the residual stream that enters it, at every token.

    `seen` [batch, 1, row, token] is true where a row sees a key: not padding, not later, inside a sliding window.
    """

    layer: int
    attention: Float[Tensor, "batch head row token"]
    seen: Tensor
    outputs: Float[Tensor, "batch head row d_head"]
    state: Float[Tensor, "batch token d_model"]


@contextmanager
def recording(
    parts: DecoderParts, rows: Tensor, consume: Callable[[LayerRecord], None], layers: Collection[int] | None = None
) -> Iterator[None]:
    """Hand every layer's record to `consume` while the model runs, one layer at a time.

    Args:
        parts: of a model that `watch_heads` has prepared.
        rows: positions [batch, row] of the queries; a position may stand there twice, to fill up.
        consume: takes what it needs; nothing of a record is kept for it.
        layers: only these are recorded, and the others cost nothing; null: all.
    """
    states: list[Tensor] = []

    def enter(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
        states[:] = [args[0] if args else kwargs["hidden_states"]]

    def tap(layer: int, call: Call, plain: Callable[[], Tensor]) -> Tensor:
        output = plain()
        if layers is not None and layer not in layers:
            return output
        here = rows.to(output.device)  # a model may be spread over devices, layer by layer
        outputs = output.gather(1, here[:, :, None, None].expand(-1, -1, *output.shape[2:])).transpose(1, 2)
        state = states[0].to(output.device)
        consume(LayerRecord(layer, call.attention(here), call.row_mask(here), outputs, state))
        return output

    handles = [block.register_forward_pre_hook(enter, with_kwargs=True) for block in parts.blocks]
    try:
        with _tapped(parts, tap):
            yield
    finally:
        for handle in handles:
            handle.remove()


Source = dict[int, Tensor]
"""By layer, what every head did at the rows of a run: pattern [batch, head, row, token] or output [batch, head, row, d_head]."""


@dataclass(frozen=True)
class Patch:
    """Heads whose pattern or output at some rows is replaced by that of another run; `heads` maps layers to head numbers."""

    heads: Mapping[int, tuple[int, ...]]
    source: Source


@contextmanager
def explicit_attention(
    parts: DecoderParts, rows: Tensor, part: Part, patch: Patch | None = None, record: Source | None = None
) -> Iterator[None]:
    """Attention by its formula, with heads patched at `rows` [batch, row], or recorded there for a later patch.

    Runs that are compared must all run in here: the fused kernel differs from the formula in the last bits, and a run that is
    patched with itself must come out the same to the bit.
    """

    def tap(layer: int, call: Call, _: Callable[[], Tensor]) -> Tensor:
        here = rows.to(call.query.device)
        every = torch.arange(call.query.shape[2], device=here.device).expand(here.shape[0], -1)
        pattern = call.attention(every).to(call.query.dtype)
        heads = patch.heads.get(layer, ()) if patch else ()
        pattern = _exchange(pattern, here, layer, heads, patch, record) if part == "pattern" else pattern
        output = pattern @ call.of_heads(call.value)
        output = _exchange(output, here, layer, heads, patch, record) if part == "output" else output
        return output.transpose(1, 2).contiguous()

    with _tapped(parts, tap):
        yield


def _exchange(
    values: Tensor, rows: Tensor, layer: int, heads: tuple[int, ...], patch: Patch | None, record: Source | None
) -> Tensor:
    """Record the rows of all heads, then put those of the patch in place of some."""
    if record is not None:
        index = rows[:, None, :, None].expand(-1, values.shape[1], -1, values.shape[3])
        record[layer] = values.gather(2, index)
    if not heads or patch is None:
        return values
    chosen = torch.tensor(heads, device=values.device)
    index = rows[:, None, :, None].expand(-1, len(heads), -1, values.shape[3])
    patched = values[:, chosen].scatter(2, index, patch.source[layer].to(values.device)[:, chosen])
    return values.index_copy(1, chosen, patched)


def head_writes(parts: DecoderParts, record: LayerRecord) -> Float[Tensor, "batch head row d_model"]:
    """Each head's write into the residual stream at each row: its output through its own slice of the output projection.

    Source: Delta^h(q) of Saha Roy et al., arXiv 2606.06840. The sum over heads plus the bias is the attention's output.
    """
    return torch.einsum("bhrk,hkd->bhrd", record.outputs, parts.write_weights(record.layer))
