"""Patching while the decoder writes: Focus of the shortlist and Confusion of the refinement it generates.

At every generated token two runs go in lockstep, on the clean and on the corrupted prompt, and both are fed what the patched one
writes: the other one's heads are recorded, then put into it. So a run patched with itself writes what it writes unpatched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from schemas.config import HeadsConfig
from tasks.heads.corruption import PatchCase
from tasks.heads.head_sets import HeadSet
from tasks.heads.patch_plan import Block
from tasks.heads.patching import PATCH_VALUES, patch_values
from tasks.heads.prefixes import Inputs, aligned, forked, run_prefix
from tasks.open_models.families import DecoderParts
from tasks.open_models.spoken import Meaning, SpokenForm
from tasks.open_models.watching import Part, Patch, Source, explicit_attention
from tasks.sequences.tokens import Tokens

QUANTITIES = {"shortlist": "focus", "refine": "confusion"}
"""What the generated steps of a phase are judged by."""


def generate_block(
    model: PreTrainedModel,
    parts: DecoderParts,
    block: Block,
    sets: Sequence[HeadSet],
    form: SpokenForm,
    meaning: Meaning,
    settings: HeadsConfig,
) -> pl.DataFrame:
    """Focus or Confusion of what is generated with each set of heads patched in both directions: rows of `PATCH_VALUES`.

    A document has no row where something it is judged by is not there: a generation without a step, or N(x).

    Args:
        model: the decoder, in evaluation mode.
        parts: of `watch_heads`.
        block: the documents.
        sets: what is patched; of the random ones the first `settings.generated_draws` of each size.
        form: how the generated text is read.
        meaning: what its steps are compared with.
        settings: documents a forward pass, random draws, part of a head that is patched.
    """
    chosen = [heads for heads in sets if heads.name != "random" or heads.draw < settings.generated_draws]
    frames = [pl.DataFrame(schema=PATCH_VALUES)]
    for start in range(0, len(block.cases), settings.batch_size):
        cases = block.cases[start : start + settings.batch_size]
        frames.append(_generate_batch(_Writers.of(model, parts, cases, form, settings.patched_part), cases, chosen, meaning))
    return pl.concat(frames).filter(pl.all_horizontal(pl.col("value", "clean_value", "corrupted_value").is_not_null()))


def _generate_batch(writers: "_Writers", cases: Sequence[PatchCase], sets: Sequence[HeadSet], meaning: Meaning) -> pl.DataFrame:
    clean, corrupted = writers.write(writers.clean), writers.write(writers.corrupted)
    patched = [
        (heads, direction, writers.write(run, source, heads))
        for heads in sets
        for direction, run, source in (
            ("denoise", writers.corrupted, writers.clean),
            ("noise", writers.clean, writers.corrupted),
        )
    ]
    meaning.learn(step for said in (clean, corrupted, *(one for _, _, one in patched)) for steps in said for step in steps)
    phase = cases[0].phase
    names = [case.sequence.document_id for case in cases]
    before, after = (judge(meaning, phase, names, said) for said in (clean, corrupted))
    return pl.concat(
        patch_values(names, phase, direction, heads, QUANTITIES[phase], judge(meaning, phase, names, said), before, after)
        for heads, direction, said in patched
    )


def judge(meaning: Meaning, phase: str, document_ids: Sequence[str], said: Sequence[Sequence[str]]) -> list[float | None]:
    """Focus of shortlisting steps, Confusion of refinement steps, a document each: the mean over its steps, null without any."""
    quantity = meaning.focus if phase == "shortlist" else meaning.confusion
    values = [quantity(name, steps) for name, steps in zip(document_ids, said, strict=True)]
    return [float(found.mean()) if len(found) else None for found in values]


@dataclass(frozen=True)
class _Prompted:
    """Prompts of a batch, padded on the left, and the keys and values of all but their last tokens."""

    inputs: Inputs
    cache: DynamicCache


@dataclass(frozen=True)
class _Writers:
    """A decoder with the clean and the corrupted prompts of a batch."""

    model: PreTrainedModel
    parts: DecoderParts
    part: Part
    form: SpokenForm
    cases: Sequence[PatchCase]
    clean: _Prompted
    corrupted: _Prompted

    @classmethod
    def of(
        cls, model: PreTrainedModel, parts: DecoderParts, cases: Sequence[PatchCase], form: SpokenForm, part: Part
    ) -> "_Writers":
        """Read the prompts."""
        ends = [prompt_end(case, form) for case in cases]

        def prompted(sequences: Sequence[Tokens]) -> _Prompted:
            inputs = aligned([ids[:end] for ids, end in zip(sequences, ends, strict=True)], ends, model.device)
            return _Prompted(inputs, run_prefix(model, parts, inputs, inputs.token_ids.shape[1] - 1))

        clean = prompted([case.sequence.token_ids for case in cases])
        return cls(model, parts, part, form, cases, clean, prompted([case.corrupted_ids for case in cases]))

    def write(self, run: _Prompted, source: _Prompted | None = None, heads: HeadSet | None = None) -> list[list[str]]:
        """Steps that are generated greedily, a document each; heads, if any, are as in the run on `source`."""
        phase = self.cases[0].phase
        written = self._write_tokens(run, source, heads, sorted(self.form.stops[phase]), self.form.limits[phase])
        return [self.form.read(phase, row) for row in written]

    def _write_tokens(
        self, run: _Prompted, source: _Prompted | None, heads: HeadSet | None, stops: Sequence[int], limit: int
    ) -> list[list[int]]:
        own, other = forked(run.cache), forked(source.cache) if source else None
        tokens, shadow = run.inputs.token_ids[:, -1:], source.inputs.token_ids[:, -1:] if source else None
        ends = torch.tensor(stops, device=tokens.device)
        is_done = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        written: list[Tensor] = []
        for step in range(limit):
            patch = None
            if other is not None and shadow is not None and heads is not None:
                record: Source = {}
                self._step(run.inputs, other, shadow, step, None, record)
                patch = Patch(heads.by_layer, record)
            best = self._step(run.inputs, own, tokens, step, patch, None)
            is_done |= torch.isin(best, ends)
            if bool(is_done.all()):
                break
            written.append(best.masked_fill(is_done, NOTHING))
            tokens = shadow = best[:, None]
        rows = torch.stack(written, dim=1).tolist() if written else [[] for _ in self.cases]
        return [[token for token in row if token != NOTHING] for row in rows]

    def _step(
        self, inputs: Inputs, cache: DynamicCache, tokens: Int[Tensor, "batch 1"], step: int, patch: Patch | None,
        record: Source | None,
    ) -> Int[Tensor, " batch"]:  # fmt: skip
        """Feed one token to every run; the most likely next ones."""
        rows = torch.zeros_like(tokens)
        grown = torch.ones((len(tokens), step), dtype=inputs.mask.dtype, device=tokens.device)
        with torch.no_grad(), explicit_attention(self.parts, rows, self.part, patch, record):
            logits: Tensor = self.model(
                input_ids=tokens,
                attention_mask=torch.cat([inputs.mask, grown], dim=1),
                position_ids=inputs.positions[:, -1:] + step,
                past_key_values=cache,
                use_cache=True,
            ).logits
        return logits[:, -1].argmax(-1).to(tokens.device)


NOTHING = -1
"""Stands after the end of what was generated."""


def prompt_end(case: PatchCase, form: SpokenForm) -> int:
    """Tokens of a case's prompt: the document, in refinement the trace's own shortlist too, and the mark that opens the phase."""
    sequence = case.sequence
    start = sequence.response_start if case.phase == "shortlist" else sequence.refine_start
    return int(np.clip(start + form.mark_count, 1, len(sequence.token_ids)))
