"""Patching under teacher forcing: what another run's pattern (or output) of some heads does to the margin.

How a stage calls it; every frame can be stored, since a block hangs on no other:
    plan = plan_patches(test_sequences, index, Corruptor(settings.corruption, filler_id(tokenizer), settings.seed), settings)
    sets = plan_sets(core_head_scores, settings)
    for block in plan.blocks(BLOCK_DOCUMENTS):
        patch_block(model, parts, block, sets[block.phase], settings)                    # rows of PATCH_VALUES
        generate_block(model, parts, block, sets[block.phase], form, meaning, settings)  # the same, of generated steps
    effect_rows(values, settings)            # core_patch_effects without dataset and model
    patch_verdicts(values, plan, settings)   # rows of out_verdicts without run, dataset and system
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from schemas.config import HeadsConfig
from tasks.heads.corruption import PatchCase
from tasks.heads.head_sets import HeadSet
from tasks.heads.patch_plan import Block
from tasks.heads.prefixes import Inputs, aligned, run_prefix, run_rest
from tasks.open_models.families import DecoderParts, margins
from tasks.open_models.watching import Part, Patch, Source, explicit_attention

PATCH_VALUES: Mapping[str, type[pl.DataType]] = {
    "document_id": pl.String,
    "phase": pl.String,
    "direction": pl.String,
    "head_set": pl.String,
    "head_count": pl.Int32,
    "draw": pl.Int32,
    "outcome_quantity": pl.String,
    "value": pl.Float64,
    "clean_value": pl.Float64,
    "corrupted_value": pl.Float64,
}
"""One quantity of one document with some heads patched, and in the two runs that are patched with each other."""

BLOCK_DOCUMENTS = 48
"""Documents of a block: what a killed stage does again at most."""


def patch_block(
    model: PreTrainedModel, parts: DecoderParts, block: Block, sets: Sequence[HeadSet], settings: HeadsConfig
) -> pl.DataFrame:
    """Margins of a block's documents, logits, with each set of heads patched in both directions: rows of `PATCH_VALUES`.

    Args:
        model: the decoder, in evaluation mode.
        parts: of `watch_heads`.
        block: the documents.
        sets: what is patched.
        settings: documents a forward pass, part of a head that is patched.
    """
    frames = []
    for cases in _alike(block.cases, settings.batch_size):
        pair = _PairOfRuns.of(model, parts, cases, settings.patched_part)
        names = [case.sequence.document_id for case in cases]
        for heads in sets:
            for direction, values in (("denoise", pair.denoised(heads)), ("noise", pair.noised(heads))):
                frames.append(
                    patch_values(
                        names, block.phase, direction, heads, "margin", values, pair.clean_margins, pair.corrupted_margins
                    )
                )
    return pl.concat(frames) if frames else pl.DataFrame(schema=PATCH_VALUES)


def patch_values(
    document_ids: Sequence[str],
    phase: str,
    direction: str,
    heads: HeadSet,
    quantity: str,
    values: Sequence[float | None],
    clean: Sequence[float | None],
    corrupted: Sequence[float | None],
) -> pl.DataFrame:
    """One set's values of some documents as rows of `PATCH_VALUES`."""
    columns = {"document_id": document_ids, "value": values, "clean_value": clean, "corrupted_value": corrupted}
    constant = {
        "phase": phase, "direction": direction, "head_set": heads.name, "head_count": len(heads.heads), "draw": heads.draw,
        "outcome_quantity": quantity,
    }  # fmt: skip
    return (
        pl.DataFrame(columns)
        .with_columns([pl.lit(value).alias(name) for name, value in constant.items()])
        .select([pl.col(name).cast(kind) for name, kind in PATCH_VALUES.items()])
    )


def _alike(cases: Sequence[PatchCase], size: int) -> Iterator[list[PatchCase]]:
    """Cases in batches, those with as many patched tokens together."""
    ordered = sorted(cases, key=lambda case: (int(np.ptp(case.rows)), int(case.rows.min()), case.sequence.document_id))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


@dataclass(frozen=True)
class _Batch:
    """Cases as tensors; the tokens before `start` come before every patched row, `rows` count from `start` on."""

    clean: Inputs
    corrupted: Inputs
    start: int
    rows: Int[Tensor, "batch row"]
    pairs: Int[Tensor, "batch row 2"]
    is_measured: Bool[Tensor, "batch row"]


def _batch(cases: Sequence[PatchCase], device: torch.device) -> _Batch:
    """A batch whose first patched rows stand at one position: what comes before is run once for all sets."""
    firsts, ends = [int(case.rows.min()) for case in cases], [int(case.rows.max()) + 1 for case in cases]
    clean, corrupted = (
        aligned([ids[:end] for ids, end in zip(sequences, ends, strict=True)], firsts, device)
        for sequences in ([case.sequence.token_ids for case in cases], [case.corrupted_ids for case in cases])
    )
    count = max(len(case.rows) for case in cases)
    places = [np.arange(count) * (np.arange(count) < len(case.rows)) for case in cases]  # short ones repeat their first row
    rows = np.stack([case.rows[place] - first for case, place, first in zip(cases, places, firsts, strict=True)])
    pairs = np.stack([case.pairs[place] for case, place in zip(cases, places, strict=True)])
    is_measured = np.stack(
        [case.is_measured[place] & (np.arange(count) < len(case.rows)) for case, place in zip(cases, places, strict=True)]
    )
    on_device = (torch.from_numpy(values).to(device) for values in (rows, pairs, is_measured))
    return _Batch(clean, corrupted, max(firsts), *on_device)


@dataclass(frozen=True)
class _PairOfRuns:
    """The clean and the corrupted run of a batch: what every head did in each, and each one's margins, a document each."""

    parts: DecoderParts
    part: Part
    batch: _Batch
    clean_prefix: DynamicCache
    corrupted_prefix: DynamicCache
    clean_source: Source
    corrupted_source: Source
    clean_margins: list[float]
    corrupted_margins: list[float]

    @classmethod
    def of(cls, model: PreTrainedModel, parts: DecoderParts, cases: Sequence[PatchCase], part: Part) -> "_PairOfRuns":
        """Run both; later runs go on from the same prefixes, so that a run patched with itself is the same to the bit."""
        batch = _batch(cases, model.device)
        prefixes = [run_prefix(model, parts, inputs, batch.start) for inputs in (batch.clean, batch.corrupted)]
        sources: list[Source] = [{}, {}]
        found = []
        for inputs, prefix, source in zip((batch.clean, batch.corrupted), prefixes, sources, strict=True):
            with explicit_attention(parts, batch.rows, part, record=source):
                found.append(_margins(parts, batch, inputs, prefix))
        return cls(parts, part, batch, prefixes[0], prefixes[1], sources[0], sources[1], found[0], found[1])

    def denoised(self, heads: HeadSet) -> list[float]:
        """Margins of the corrupted run with these heads as in the clean one."""
        return self._patched(heads, self.batch.corrupted, self.corrupted_prefix, self.clean_source)

    def noised(self, heads: HeadSet) -> list[float]:
        """Margins of the clean run with these heads as in the corrupted one."""
        return self._patched(heads, self.batch.clean, self.clean_prefix, self.corrupted_source)

    def _patched(self, heads: HeadSet, inputs: Inputs, prefix: DynamicCache, source: Source) -> list[float]:
        with explicit_attention(self.parts, self.batch.rows, self.part, Patch(heads.by_layer, source)):
            return _margins(self.parts, self.batch, inputs, prefix)


def _margins(parts: DecoderParts, batch: _Batch, inputs: Inputs, prefix: DynamicCache) -> list[float]:
    """The mean margin of each document over its measured rows, logits."""
    states = run_rest(parts, inputs, prefix, batch.start, batch.rows)
    with torch.no_grad():
        found: Float[Tensor, "batch row"] = margins(parts, states, batch.pairs).double()
    weights = batch.is_measured.to(found)
    means: list[float] = ((found * weights).sum(1) / weights.sum(1)).tolist()
    return means
