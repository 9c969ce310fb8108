"""What chosen heads read and write at the rows of the two phases, observed in one forward pass, with gradient if there is any.

The formulas are those of `tasks.open_models.scores`. A row counts where all of its phase's quantities are defined: in phase 1 the
document has anchors, in phase 2 a kept and a dropped candidate are named before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.decoder_students.phase_signals import PhaseRows, PhaseSignals
from tasks.open_models.families import DecoderParts, TokenRows, final_states, margin_gradients
from tasks.open_models.places import Places, find_places
from tasks.open_models.watching import LayerRecord, recording
from tasks.sequences.batches import Batch
from tasks.sequences.tokens import TokenSequence

Head = tuple[int, int]
"""Layer and number of a head."""


@dataclass(frozen=True)
class PhaseHeads:
    """The heads that are observed at Q_early and at Q_refine; signals come in this order."""

    early: tuple[Head, ...]
    refine: tuple[Head, ...]

    @property
    def layers(self) -> frozenset[int]:
        """Layers that hold one of them."""
        return frozenset(layer for layer, _ in self.early + self.refine)


@dataclass(frozen=True)
class SignalPlaces:
    """Where signals are read in a batch: its places, and the document's tokens; key k is a sequence's k-th document token."""

    places: Places
    document: Int[Tensor, "batch key"]
    is_document: Bool[Tensor, "batch key"]
    is_anchor: Bool[Tensor, "batch key"]

    @property
    def phase1(self) -> PhaseRows:
        """Rows of Q_early in documents with anchors; keys are the document's tokens."""
        is_row = self.places.is_early & self.places.has_anchors[:, None]
        return PhaseRows(is_row, is_row[:, :, None] & self.is_document[:, None])

    @property
    def phase2(self) -> PhaseRows:
        """Rows of Q_refine with a kept and a dropped candidate before them; keys are the candidates named in full before."""
        is_row = self.places.has_both
        return PhaseRows(is_row, is_row[:, :, None] & (self.places.kept + self.places.dropped > 0))

    def to(self, device: torch.device | str) -> "SignalPlaces":
        """The same on a device."""
        return SignalPlaces(*(getattr(self, field.name).to(device) for field in fields(self)))


def find_signal_places(sequences: Sequence[TokenSequence], batch: Batch) -> SignalPlaces:
    """Where signals are read in the batch that sequences were padded to, on its device."""
    width = max(1, *(len(one.document) for one in sequences))
    document = np.zeros((len(sequences), width), dtype=np.int64)
    is_document, is_anchor = (np.zeros(document.shape, dtype=np.bool_) for _ in range(2))
    for place, (one, offset) in enumerate(zip(sequences, batch.offsets, strict=True)):
        count = len(one.document)
        document[place, :count] = one.document + offset
        is_document[place, :count] = True
        is_anchor[place, :count] = np.isin(one.document, one.anchors)
    device = batch.token_ids.device
    return SignalPlaces(
        find_places(sequences, batch), *(torch.from_numpy(one).to(device) for one in (document, is_document, is_anchor))
    )


@dataclass(frozen=True)
class HeadOutputs:
    """`PhaseSignals` before the output projection: what a head hands to it instead of its write, a head's width a row."""

    reading: Float[Tensor, "batch head row key"]
    outputs: Float[Tensor, "batch head row d_head"]
    mass: Float[Tensor, "batch head row"]
    effect: Float[Tensor, "batch head row"]

    def written(self, weights: Float[Tensor, "head d_head d_model"]) -> PhaseSignals:
        """The signals, through the heads' slices of the output projection."""
        return PhaseSignals(self.reading, write(self.outputs, weights), self.mass, self.effect)


def observe(
    parts: DecoderParts, where: SignalPlaces, heads: PhaseHeads, token_rows: TokenRows, forward: Callable[[], object]
) -> tuple[PhaseSignals, PhaseSignals]:
    """Signals of phase 1 and phase 2 in one forward pass, on the device of `where`; with gradient where it is enabled.

    Gradient checkpointing must be off: what is observed belongs to the pass that runs here.

    Args:
        parts: of a model that `watch_heads` has prepared.
        where: of the batch that `forward` runs on.
        heads: which are observed.
        token_rows: rows of the read-out matrix; of a model whose own matrix it is, `parts.token_rows`.
        forward: runs the model once; what it returns is left to the caller.
    """
    early, refine = observe_outputs(parts, where, heads, token_rows, forward)
    device = where.document.device
    return early.written(write_slices(parts, heads.early, device)), refine.written(write_slices(parts, heads.refine, device))


def observe_outputs(
    parts: DecoderParts, where: SignalPlaces, heads: PhaseHeads, token_rows: TokenRows, forward: Callable[[], object]
) -> tuple[HeadOutputs, HeadOutputs]:
    """As `observe`, before the output projection."""
    collector = _Collector(parts, where, heads)
    states: list[Tensor] = []
    places = where.places
    with recording(parts, places.rows, collector.take, heads.layers), final_states(parts, places.refine, states.append):
        forward()
    device = where.document.device
    with torch.autocast(device.type, enabled=False):  # products of half precision would be those of the writes, too
        _, gradient = margin_gradients(parts, states[0], places.pairs, lambda ids: token_rows(ids).detach())
        return collector.early_outputs(), collector.refine_outputs(gradient.to(device))


def write(
    outputs: Float[Tensor, "batch head row d_head"], weights: Float[Tensor, "head d_head d_model"]
) -> Float[Tensor, "batch head row d_model"]:
    """Delta(q): each head's output through its own slice of the output projection."""
    with torch.autocast(outputs.device.type, enabled=False):
        return torch.einsum("bhrk,hkd->bhrd", outputs.float(), weights.float())


def write_slices(parts: DecoderParts, heads: Sequence[Head], device: torch.device) -> Float[Tensor, "head d_head d_model"]:
    """The slices of the output projection of some heads, in float32."""
    slices = [parts.write_weights(layer)[head].to(device).float() for layer, head in heads]
    return torch.stack(slices) if slices else torch.zeros(0, parts.d_head, parts.d_model, device=device)


class _Collector:
    """Takes from each layer what its chosen heads do; of anything else nothing is kept."""

    def __init__(self, parts: DecoderParts, where: SignalPlaces, heads: PhaseHeads) -> None:
        self.parts, self.where, self.heads = parts, where, heads
        self.phase1, self.phase2 = where.phase1, where.phase2
        self.early: dict[Head, HeadOutputs] = {}
        self.refine: dict[Head, HeadOutputs] = {}

    def take(self, record: LayerRecord) -> None:
        """One layer."""
        device = record.state.device
        with torch.autocast(device.type, enabled=False):
            self._take_early(record, self.where.to(device))
            self._take_refine(record, self.where.to(device))

    def _take_early(self, record: LayerRecord, where: SignalPlaces) -> None:
        chosen = [head for head in self.heads.early if head[0] == record.layer]
        if not chosen:
            return
        numbers, count = [number for _, number in chosen], where.places.early.shape[1]
        attention, outputs = record.attention[:, numbers, :count], record.outputs[:, numbers, :count].float()
        index = where.document[:, None, None, :].expand(-1, *attention.shape[1:3], -1)
        reading = attention.gather(3, index).masked_fill(~where.phase1.is_key[:, None], 0.0)
        mass = (reading * where.is_anchor[:, None, None]).sum(-1)
        centroid = torch.einsum("btd,bt->bd", record.state.float(), where.places.anchor_weights)
        writes = write(outputs, write_slices(self.parts, chosen, outputs.device))
        self._keep(self.early, chosen, HeadOutputs(_shares(reading), outputs, mass, _cosine(writes, centroid)))

    def _take_refine(self, record: LayerRecord, where: SignalPlaces) -> None:
        chosen = [head for head in self.heads.refine if head[0] == record.layer]
        if not chosen:
            return
        numbers, count = [number for _, number in chosen], where.places.early.shape[1]
        attention, outputs = record.attention[:, numbers, count:], record.outputs[:, numbers, count:].float()
        on_candidates = attention @ where.places.spans.transpose(1, 2)[:, None]  # [batch, head, row, candidate]
        reading = on_candidates.masked_fill(~where.phase2.is_key[:, None], 0.0)
        mass = torch.einsum("bhrc,brc->bhr", reading, where.places.kept - where.places.dropped)
        self._keep(self.refine, chosen, HeadOutputs(_shares(reading), outputs, mass, torch.zeros_like(mass)))

    def _keep(self, kept: dict[Head, HeadOutputs], chosen: Sequence[Head], found: HeadOutputs) -> None:
        device = self.where.document.device
        for place, head in enumerate(chosen):
            kept[head] = HeadOutputs(*(getattr(found, field.name)[:, place].to(device) for field in fields(found)))

    def early_outputs(self) -> HeadOutputs:
        """Of phase 1, heads in order."""
        return self._stacked(self.early, self.heads.early, self.phase1)

    def refine_outputs(self, gradient: Float[Tensor, "batch row d_model"]) -> HeadOutputs:
        """Of phase 2, heads in order.

        Args:
            gradient: of the margin at the final states.
        """
        found = self._stacked(self.refine, self.heads.refine, self.phase2)
        slices = write_slices(self.parts, self.heads.refine, gradient.device)
        back = torch.einsum("brd,hkd->bhrk", gradient.float(), slices)
        return HeadOutputs(found.reading, found.outputs, found.mass, (back * found.outputs).sum(-1))

    def _stacked(self, kept: dict[Head, HeadOutputs], heads: Sequence[Head], rows: PhaseRows) -> HeadOutputs:
        """Heads in order, zeros at rows that do not count."""
        batch, count, keys = rows.is_key.shape
        device = self.where.document.device
        if not heads:
            reading, outputs = (torch.zeros(batch, 0, count, width, device=device) for width in (keys, self.parts.d_head))
            return HeadOutputs(reading, outputs, reading.sum(-1), reading.sum(-1))
        absent = ~rows.is_row[:, None]
        stacked = [torch.stack([getattr(kept[head], field.name) for head in heads], dim=1) for field in fields(HeadOutputs)]
        return HeadOutputs(*(one.masked_fill(absent if one.dim() == 3 else absent[..., None], 0.0) for one in stacked))


def _shares(attention: Float[Tensor, "... key"]) -> Float[Tensor, "... key"]:
    """Attention scaled to sum 1; a row that gives these keys none stays zero."""
    total = attention.sum(-1, keepdim=True)
    return attention / torch.where(total > 0, total, 1.0)


def _cosine(
    writes: Float[Tensor, "batch head row d_model"], centroid: Float[Tensor, "batch d_model"]
) -> Float[Tensor, "batch head row"]:
    """Cosine of each write and the anchors' centroid; 0 where there is no write or no centroid."""
    along = torch.einsum("bhrd,bd->bhr", writes, centroid)
    lengths = writes.norm(dim=-1) * centroid.norm(dim=-1)[:, None, None]
    return torch.where(lengths > 0, along / torch.where(lengths > 0, lengths, 1.0), 0.0)
