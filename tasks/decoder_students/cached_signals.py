"""The teacher's signals a document at a time, small enough to keep: made once, read back as one padded batch.

What is kept of a write is the head's output before the output projection, d_model / d_head times smaller; the heads' slices of it
are kept once and form the writes when a batch is read.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import ModelRefusedError
from tasks.decoder_students.phase_signals import PhaseRows, PhaseSignals
from tasks.decoder_students.signals import (
    HeadOutputs,
    PhaseHeads,
    find_signal_places,
    observe_outputs,
    write_slices,
)
from tasks.open_models.families import DecoderParts, final_states
from tasks.sequences.batches import by_length, pad
from tasks.sequences.tokens import TokenSequence

Array = NDArray[Any]  # half, single, whole numbers and truths, by name
Arrays = Mapping[str, Array]
"""Arrays of one document by name, as `document_arrays` describes them."""

PHASES = ("early", "refine")
LOGITS_AT_ONCE = 2**26
"""Logits held at once: 256 MB; a vocabulary of 150,000 at 450 rows."""


@dataclass(frozen=True)
class Likeliest:
    """The likeliest next tokens at the rows that predict a trace's tokens, likeliest first, with log-probabilities in nats.

    `rows` are positions in a sequence padded on the right.
    """

    rows: Int[Tensor, "batch target"]
    is_row: Bool[Tensor, "batch target"]
    token_ids: Int[Tensor, "batch target k"]
    log_probs: Float[Tensor, "batch target k"]

    def to(self, device: torch.device | str) -> "Likeliest":
        """The same on a device."""
        return Likeliest(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class TeacherBatch:
    """What the teacher does on some documents: rows and signals of both phases, and its next tokens (null if none are kept)."""

    rows1: PhaseRows
    rows2: PhaseRows
    phase1: PhaseSignals
    phase2: PhaseSignals
    likeliest: Likeliest | None

    def to(self, device: torch.device | str) -> "TeacherBatch":
        """The same on a device."""
        likeliest = None if self.likeliest is None else self.likeliest.to(device)
        signals = (self.phase1.to(device), self.phase2.to(device))
        return TeacherBatch(self.rows1.to(device), self.rows2.to(device), *signals, likeliest)


def trace_rows(sequence: TokenSequence) -> Int[np.ndarray, " target"]:
    """Positions of the rows that predict the trace's tokens."""
    return np.arange(sequence.response_start - 1, len(sequence.token_ids) - 1, dtype=np.int64)


def hash_sequences(sequences: Iterable[TokenSequence]) -> str:
    """SHA-256 in hex over everything of the sequences that signals depend on."""
    total = hashlib.sha256()
    for one in sequences:
        places = (one.token_ids, one.document, one.anchors, one.early_rows, *one.candidate_spans, one.is_kept, one.refine_rows)
        for part in (*places, one.margin_tokens, np.array([one.response_start])):
            values = np.ascontiguousarray(part, dtype=np.int64)
            total.update(np.int64(values.size).tobytes() + values.tobytes())
    return total.hexdigest()


def teacher_signals(
    parts: DecoderParts, sequences: Sequence[TokenSequence], heads: PhaseHeads, pad_id: int, batch_size: int, top: int = 0
) -> list[Arrays]:
    """The arrays of each document, in order: what `read_batch` takes.

    Of each phase `early` and `refine`: `_is_row` [row], `_is_key` [row, key], `_reading` [head, row, key] and `_outputs`
    [head, row, d_head] in half precision, `_mass` and `_effect` [head, row] in float32 (their product is small, and they take
    little). With `top`: `rows` [target], `token_ids` [target, k] and `log_probs` [target, k] in half precision.

    Args:
        parts: of a teacher that `watch_heads` has prepared, in evaluation mode.
        sequences: documents with their traces, a shard of them.
        heads: of all students.
        pad_id: stands where there is no token.
        batch_size: sequences a forward pass.
        top: likeliest next tokens kept of each distribution; 0: none.

    Raises:
        ModelRefusedError: what a head does is not finite, in half precision.
    """
    found: dict[int, Arrays] = {}
    for places in by_length(sequences, batch_size):
        chosen = [sequences[place] for place in places]
        found.update(zip(places, _observed(parts, chosen, heads, pad_id, top), strict=True))
    return [found[place] for place in range(len(sequences))]


@torch.no_grad()
def _observed(
    parts: DecoderParts, sequences: Sequence[TokenSequence], heads: PhaseHeads, pad_id: int, top: int
) -> Iterator[Arrays]:
    device = next(parts.blocks[0].parameters()).device
    batch = pad([one.token_ids for one in sequences], pad_id).to(device)
    where = find_signal_places(sequences, batch)
    rows = [trace_rows(one) for one in sequences]
    states: list[Tensor] = []
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(one) for one in rows], batch_first=True)

    def run() -> None:
        with final_states(parts, padded if top else padded[:, :0], states.append):
            parts.body(
                input_ids=batch.token_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids, use_cache=False
            )

    observed = observe_outputs(parts, where, heads, parts.token_rows, run)
    for place, sequence in enumerate(sequences):
        arrays: dict[str, Array] = {}
        for name, phase, outputs in zip(PHASES, (where.phase1, where.phase2), observed, strict=True):
            size = (len(sequence.early_rows), len(sequence.document))
            size = size if name == "early" else (len(sequence.refine_rows), len(sequence.candidate_spans))
            arrays.update(_compact(name, place, size, phase, outputs))
        if top:
            arrays["rows"] = rows[place]
            arrays.update(_next_tokens(parts, states[0][place, : len(rows[place])], top))
        yield _finite(arrays, sequence)


def _compact(name: str, place: int, size: tuple[int, int], phase: PhaseRows, outputs: HeadOutputs) -> Iterator[tuple[str, Array]]:
    """One phase of one document of a batch, without padding."""
    rows, keys = size
    yield f"{name}_is_row", phase.is_row[place, :rows].cpu().numpy()
    yield f"{name}_is_key", phase.is_key[place, :rows, :keys].cpu().numpy()
    yield f"{name}_reading", outputs.reading[place, :, :rows, :keys].half().cpu().numpy()
    yield f"{name}_outputs", outputs.outputs[place, :, :rows].half().cpu().numpy()
    yield f"{name}_mass", outputs.mass[place, :, :rows].float().cpu().numpy()
    yield f"{name}_effect", outputs.effect[place, :, :rows].float().cpu().numpy()


def _next_tokens(parts: DecoderParts, states: Float[Tensor, "target d_model"], top: int) -> dict[str, Array]:
    """The likeliest next tokens at some final states; of the logits only a part is held at once."""
    weight: Tensor = parts.readout.weight  # type: ignore[assignment]
    vocabulary = weight.shape[0]
    best = []
    for part in torch.split(states, max(1, LOGITS_AT_ONCE // vocabulary)):
        log_probs = parts.readout(parts.final(part)).float().log_softmax(-1)
        best.append(log_probs.topk(min(top, vocabulary), dim=-1))
    values, ids = (torch.cat(both) for both in zip(*best, strict=True))
    return {"token_ids": ids.int().cpu().numpy(), "log_probs": values.half().cpu().numpy()}


def _finite(arrays: Arrays, sequence: TokenSequence) -> Arrays:
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelRefusedError(
                f"{name} of document {sequence.document_id!r} is not finite in half precision: the teacher's weights or its "
                "precision are broken; try heads.precision float32"
            )
    return arrays


def teacher_slices(parts: DecoderParts, heads: PhaseHeads) -> Arrays:
    """The heads' slices of the output projection by phase, [head, d_head, d_model] in float32: what writes are formed with."""
    device = torch.device("cpu")
    both = zip(PHASES, (heads.early, heads.refine), strict=True)
    return {name: write_slices(parts, chosen, device).detach().numpy() for name, chosen in both}


def read_batch(documents: Sequence[Arrays], slices: Arrays, kept: PhaseHeads, asked: PhaseHeads) -> TeacherBatch:
    """Some documents as one padded batch, on the CPU.

    Args:
        documents: arrays of each, of `teacher_signals`.
        slices: of `teacher_slices`, for the same heads.
        kept: the heads that were observed.
        asked: the heads to read, in order; each is one of `kept`.
    """
    (rows1, phase1), (rows2, phase2) = (
        _phase(name, documents, slices[name], [of_kept.index(head) for head in of_asked])
        for name, of_kept, of_asked in zip(PHASES, (kept.early, kept.refine), (asked.early, asked.refine), strict=True)
    )
    has_tokens = "rows" in documents[0]
    return TeacherBatch(rows1, rows2, phase1, phase2, _likeliest(documents) if has_tokens else None)


def _phase(name: str, documents: Sequence[Arrays], slices: Array, chosen: Sequence[int]) -> tuple[PhaseRows, PhaseSignals]:
    keys = 1 if name == "early" else 0  # a batch of sequences has a document's token at least, and may be without candidates

    def of_heads(field: str, least: tuple[int, ...]) -> Tensor:
        return _padded([one[f"{name}_{field}"][list(chosen)] for one in documents], (0, 1, *least)).float()

    rows = PhaseRows(
        _padded([one[f"{name}_is_row"] for one in documents], (1,)),
        _padded([one[f"{name}_is_key"] for one in documents], (1, keys)),
    )
    reading = of_heads("reading", (keys,))
    total = reading.sum(-1, keepdim=True)
    reading = reading / torch.where(total > 0, total, 1.0)  # half precision does not sum to 1
    outputs = HeadOutputs(reading, of_heads("outputs", (0,)), of_heads("mass", ()), of_heads("effect", ()))
    return rows, outputs.written(torch.from_numpy(np.asarray(slices)[list(chosen)]))


def _likeliest(documents: Sequence[Arrays]) -> Likeliest:
    rows = _padded([one["rows"] for one in documents], (0,))
    counts = torch.tensor([len(one["rows"]) for one in documents])
    ids, log_probs = (_padded([one[name] for one in documents], (0, 0)) for name in ("token_ids", "log_probs"))
    return Likeliest(rows, torch.arange(rows.shape[1]) < counts[:, None], ids.long(), log_probs.float())


def _padded(arrays: Sequence[Array], least: tuple[int, ...]) -> Tensor:
    """Arrays of equal dimension as one, zeros where one has no value; `least` is its least size, that of a batch of sequences."""
    shape = np.array([least, *(one.shape for one in arrays)]).max(axis=0)
    out = np.zeros((len(arrays), *shape), dtype=arrays[0].dtype)
    for place, one in enumerate(arrays):
        out[place][tuple(slice(size) for size in one.shape)] = one
    return torch.from_numpy(out)


def interaction_scale(documents: Iterable[Arrays]) -> tuple[Float[np.ndarray, " head"], Float[np.ndarray, " head"]]:
    """Each head's root mean square of mass times effect over the rows that count, by phase; 0 without any.

    Args:
        documents: arrays of all, of which only `_is_row`, `_mass` and `_effect` are touched.
    """
    squares: dict[str, NDArray[np.float64] | float] = dict.fromkeys(PHASES, 0.0)
    counts = dict.fromkeys(PHASES, 0)
    for one in documents:
        for name in PHASES:
            product = one[f"{name}_mass"].astype(np.float64) * one[f"{name}_effect"]
            squares[name] = squares[name] + (product**2).sum(axis=1)
            counts[name] += int(one[f"{name}_is_row"].sum())
    early, refine = (np.sqrt(np.asarray(squares[name]) / max(counts[name], 1)) for name in PHASES)
    return early, refine
