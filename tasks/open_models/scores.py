"""What every head does at the rows of the two phases, from one forward pass; no attention map outlives its layer.

The quantities are those of Saha Roy et al., arXiv 2606.06840. Ours, where the paper leaves it open: kurtosis is taken over the
keys a row sees, so that it does not depend on padding; the document's mean state is taken off the anchors' centroid, else every
cosine is that of the common part; attention to the shortlist is a mean over candidates, kept or dropped, since more are dropped
than kept; a candidate counts from where it is named in full.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import ModelRefusedError
from tasks.open_models.families import DecoderParts, final_states, margin_gradients
from tasks.open_models.places import Places, find_places
from tasks.open_models.watching import LayerRecord, recording
from tasks.sequences.batches import Batch
from tasks.sequences.tokens import TokenSequence

EVEN = 1e-6
"""Attention whose standard deviation is this share of its mean is even: what differs is rounding, and kurtosis would be noise."""

PerRow = Float[np.ndarray, "document layer head row"]


@dataclass(frozen=True)
class HeadRows:
    """Quantities of every head at every row of a batch; NaN where a document has no such row, anchor or candidate."""

    kurtosis: PerRow
    """Excess kurtosis of the attention at each row of Q_early, over the keys the row sees; even attention has 0."""
    alignment: PerRow
    """cos(Delta(q), c_anchor) at each row of Q_early; a head that writes nothing has 0."""
    kept_attention: PerRow
    """Attention at each row of Q_refine to a kept candidate, mean over those named before it."""
    dropped_attention: PerRow
    """The same of dropped candidates."""
    helpfulness: PerRow
    """<Delta(q), grad margin(q)> at each row of Q_refine, in logits."""


def measure_rows(parts: DecoderParts, sequences: Sequence[TokenSequence], batch: Batch) -> HeadRows:
    """What every head of a decoder does at Q_early and Q_refine of some sequences, from one forward pass without logits.

    Attention is held one layer at a time, at these rows only. What is kept until the final state is there is the heads' output
    at Q_refine: rows x d_model numbers a layer, a few thousandths of the keys and values that generating would keep.

    Args:
        parts: of a model that `watch_heads` has prepared, in evaluation mode.
        sequences: documents with their traces.
        batch: the sequences, padded on either side, on the device of the model's first layer.

    Raises:
        ModelRefusedError: what a head does is not finite, or a row sees no key.
    """
    places = find_places(sequences, batch)
    recorder = Recorder(parts, places)
    states: list[Tensor] = []
    with recording(parts, places.rows, recorder.take), final_states(parts, places.refine, states.append), torch.no_grad():
        parts.body(
            input_ids=batch.token_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids, use_cache=False
        )
    _, gradient = margin_gradients(parts, states[0], places.pairs)
    with torch.no_grad():
        helpful = [helpfulness(parts, layer, outputs, gradient) for layer, outputs in enumerate(recorder.outputs)]
    return collect_rows(places, recorder, helpful)


class Recorder:
    """Takes from each layer's record what is scored; of a layer it keeps the heads' outputs at Q_refine, and numbers a row."""

    def __init__(self, parts: DecoderParts, places: Places) -> None:
        self.parts, self.places = parts, places
        self.early: list[tuple[Tensor, ...]] = []
        self.refine: list[tuple[Tensor, ...]] = []
        self.outputs: list[Tensor] = []

    def take(self, record: LayerRecord) -> None:
        """One layer."""
        places = self.places.to(record.state.device)
        count = places.early.shape[1]
        centroid = torch.einsum("btd,bt->bd", record.state.float(), places.anchor_weights)
        kurtosis = excess_kurtosis(record.attention[:, :, :count], record.seen[:, :, :count])
        cosines = alignment(self.parts, record.layer, record.outputs[:, :, :count], centroid)
        self.early.append((kurtosis.cpu(), cosines.cpu()))
        on_candidates = record.attention[:, :, count:] @ places.spans.transpose(1, 2)[:, None]  # [batch, head, row, candidate]
        weighed = (torch.einsum("bhrc,brc->bhr", on_candidates, weights) for weights in (places.kept, places.dropped))
        self.refine.append(tuple(mass.cpu() for mass in weighed))
        self.outputs.append(record.outputs[:, :, count:].clone())  # a view would keep the rows of Q_early too


def excess_kurtosis(attention: Float[Tensor, "batch head row token"], seen: Bool[Tensor, "batch 1 row token"]) -> Tensor:
    """How peaked attention is: its fourth central moment over its squared variance, over the keys seen, minus 3.

    Even attention has no peak and gets 0; a row that sees no key gets NaN.
    """
    count = seen.sum(-1)
    mean = attention.sum(-1) / count
    squares = ((attention - mean[..., None]) * seen).square_()
    variance = squares.sum(-1) / count
    fourth = squares.square_().sum(-1) / count
    is_even = variance <= (EVEN * mean).square()
    return torch.where(is_even, 0.0, fourth / torch.where(is_even, 1.0, variance).square() - 3)


def alignment(
    parts: DecoderParts, layer: int, outputs: Float[Tensor, "batch head row d_head"], centroid: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch head row"]:
    """Cosine of each head's write and the anchors' centroid, without writes ever being formed.

    The centroid goes back through the head's slice of the output projection, and |W o|^2 is o (W W^T) o.
    """
    weights = parts.write_weights(layer).float()
    along = torch.einsum("bhrk,bhk->bhr", outputs.float(), torch.einsum("hkd,bd->bhk", weights, centroid))
    gram = weights @ weights.transpose(1, 2)  # [head, d_head, d_head]
    lengths = ((outputs.float() @ gram) * outputs).sum(-1).clamp(min=0).sqrt() * centroid.norm(dim=-1)[:, None, None]
    return torch.where(lengths > 0, along / lengths.clamp(min=torch.finfo(torch.float32).tiny), torch.zeros_like(along))


def helpfulness(
    parts: DecoderParts, layer: int, outputs: Float[Tensor, "batch head row d_head"], gradient: Float[Tensor, "batch row d_model"]
) -> Float[Tensor, "batch head row"]:
    """OV-helpfulness: inner product of each head's write and the margin's gradient at the final state, in logits."""
    weights = parts.write_weights(layer).float()
    back = torch.einsum("brd,hkd->bhrk", gradient.to(weights), weights)
    return (back * outputs).sum(-1)


def collect_rows(places: Places, recorder: Recorder, helpful: Sequence[Tensor]) -> HeadRows:
    """Quantities of all layers, NaN where there is nothing.

    Args:
        places: of the batch.
        recorder: has taken every layer.
        helpful: OV-helpfulness of each layer, [batch, head, row].

    Raises:
        ModelRefusedError: a quantity is not finite where there is something.
    """
    places = places.to("cpu")
    kurtosis, cosines = (_stack(layers, places.is_early) for layers in zip(*recorder.early, strict=True))
    kept, dropped = (_stack(layers, places.is_refine) for layers in zip(*recorder.refine, strict=True))
    helps = _stack([layer.cpu() for layer in helpful], places.is_refine)
    for values in (kept, dropped):
        values[~_over_heads(places.has_both, values)] = np.nan
    cosines[~places.has_anchors.numpy()] = np.nan
    return HeadRows(kurtosis, cosines, kept, dropped, helps)


def _stack(layers: Sequence[Tensor], is_row: Bool[Tensor, "batch row"]) -> PerRow:
    values: PerRow = torch.stack(list(layers), dim=1).double().numpy()
    mask = _over_heads(is_row, values)
    broken = ~np.isfinite(values) & mask
    if broken.any():
        document, layer, head, _ = np.argwhere(broken)[0]
        raise ModelRefusedError(
            f"layer {layer}, head {head}: what it does is not finite at a row of document {document} of a batch: its weights or "
            "its precision are broken, or the row sees no key; try heads.precision float32"
        )
    values[~mask] = np.nan
    return values


def _over_heads(is_row: Bool[Tensor, "batch row"], values: PerRow) -> NDArray[np.bool_]:
    return np.broadcast_to(is_row.numpy()[:, None, None], values.shape)


PerHead = Float[np.ndarray, "document layer head"]


@dataclass(frozen=True)
class HeadScores:
    """Scores of every head on every document, as `schemas.fields.SCORE_NAMES`; NaN where a document lacks what is measured."""

    kurtosis: PerHead
    anchor_alignment: PerHead
    coarse_score: PerHead
    qk_refinement: PerHead
    ov_helpfulness: PerHead
    refine_score: PerHead


def score_documents(rows: HeadRows) -> HeadScores:
    """Means over the rows of each document.

    Source: CoarseScore is the mean over Q_early of kurtosis times alignment, RefineScore the mean over Q_refine of QK-refinement
    times OV-helpfulness (Saha Roy et al., arXiv 2606.06840).
    """
    refinement = rows.kept_attention - rows.dropped_attention
    return HeadScores(
        kurtosis=_mean(rows.kurtosis),
        anchor_alignment=_mean(rows.alignment),
        coarse_score=_mean(rows.kurtosis * rows.alignment),
        qk_refinement=_mean(refinement),
        ov_helpfulness=_mean(rows.helpfulness),
        refine_score=_mean(refinement * rows.helpfulness),
    )


def _mean(values: PerRow) -> PerHead:
    """Mean over the rows that are there; NaN without any."""
    count = np.isfinite(values).sum(axis=-1)
    return np.where(count > 0, np.nansum(values, axis=-1) / np.maximum(count, 1), np.nan)
