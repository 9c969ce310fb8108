"""Attention insets: how one head shares its attention over the tokens of one document."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from tasks.heads.dynamics import top_heads
from tasks.heads.head_sets import Head
from tasks.heads.patch_plan import PHASE_SCORES
from tasks.open_models.families import DecoderParts
from tasks.open_models.watching import LayerRecord, recording
from tasks.sequences.batches import pad
from tasks.sequences.tokens import Positions, TokenSequence

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = ("document_id", "phase", "layer", "head", "token_index", "token_text", "attention_frac", "is_anchor")


@dataclass(frozen=True)
class _View:
    """A head seen from some rows, over some tokens."""

    phase: str
    head: Head
    rows: Positions
    shown: Positions


def choose_document(sequences: Sequence[TokenSequence]) -> TokenSequence | None:
    """The first document by id that has all there is to see: anchors, kept and dropped candidates, refinement; else null."""
    complete = [
        one
        for one in sequences
        if len(one.anchors) and len(one.early_rows) and len(one.refine_rows) and one.is_kept.any() and not one.is_kept.all()
    ]
    return min(complete, key=lambda one: one.document_id, default=None)


def inset_rows(
    parts: DecoderParts,
    sequence: TokenSequence,
    scores: pl.DataFrame,
    tokenizer: "PreTrainedTokenizerBase",
    device: torch.device,
) -> pl.DataFrame:
    """The top head of each phase over one document: rows of `core_attention_insets` without dataset and model.

    The top coarse head is seen over the document, mean over Q_early; the top refinement head over document and shortlist, mean
    over Q_refine. A phase without a score has no rows.

    Args:
        parts: of a model that `watch_heads` has prepared.
        sequence: the document, of `choose_document`.
        scores: `core_head_scores` of the model.
        tokenizer: gives the tokens' texts.
        device: of the model's first layer.
    """
    shortlist = np.arange(sequence.response_start, sequence.refine_start)
    both = np.union1d(sequence.document, shortlist)
    places = {"shortlist": (sequence.early_rows, sequence.document), "refine": (sequence.refine_rows, both)}
    views = [_View(phase, head, *places[phase]) for phase, score in PHASE_SCORES.items() for head in top_heads(scores, score, 1)]
    attention = [_mean_attention(parts, sequence, view, device) for view in views]
    rows = [row for view, values in zip(views, attention, strict=True) for row in _rows(sequence, view, values, tokenizer)]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _mean_attention(
    parts: DecoderParts, sequence: TokenSequence, view: _View, device: torch.device
) -> Float[np.ndarray, " token"]:
    """Attention of the head to every token, mean over the rows."""
    found: list[Tensor] = []
    layer, head = view.head

    def take(record: LayerRecord) -> None:
        if record.layer == layer:
            found.append(record.attention[0, head].mean(0).cpu())

    batch = pad([sequence.token_ids.tolist()], 0).to(device)
    with recording(parts, torch.from_numpy(view.rows)[None].to(device), take), torch.no_grad():
        parts.body(input_ids=batch.token_ids, position_ids=batch.position_ids, use_cache=False)
    return np.asarray(found[0].numpy(), dtype=np.float64)


def _rows(
    sequence: TokenSequence, view: _View, attention: Float[np.ndarray, " token"], tokenizer: "PreTrainedTokenizerBase"
) -> list[tuple[str, str, int, int, int, str, float, bool]]:
    anchors = set(sequence.anchors.tolist())
    texts = [str(tokenizer.decode([token])) for token in sequence.token_ids[view.shown].tolist()]
    return [
        (sequence.document_id, view.phase, *view.head, place, text, min(float(attention[place]), 1.0), place in anchors)
        for place, text in zip(view.shown.tolist(), texts, strict=True)
    ]
