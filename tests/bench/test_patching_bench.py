"""Patching a decoder of the size that is trained here: CPU time a patched run, beside whole runs with logits; `-s` shows it.

On a shared x86-64 core: 17 ms against 236 ms in shortlisting (14 times), 53 against 235 ms in refinement (4.4 times).
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from schemas.config import HeadsConfig
from tasks.heads.corruption import Corruptor, PatchCase, Phase, patch_cases
from tasks.heads.head_sets import HeadSet
from tasks.heads.patch_plan import Block
from tasks.heads.patching import patch_block
from tasks.heads.prefixes import aligned
from tasks.open_models.families import DecoderParts
from tasks.open_models.watching import Patch, Source, explicit_attention, watch_heads
from tests.support.token_sequences import token_sequence

LAYERS, HEADS, VOCABULARY = 6, 8, 6500
DOCUMENTS, WORDS, CANDIDATES, REFINE_TOKENS = 16, 64, 10, 40
SETS = [HeadSet("random", draw, ((draw % LAYERS, draw % HEADS),)) for draw in range(20)]


def decoder() -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=128, intermediate_size=512, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            num_key_value_heads=HEADS, tie_word_embeddings=True,
        )
    )  # fmt: skip
    model.train(False)
    return model


def cases(phase: Phase) -> list[PatchCase]:
    draw = np.random.default_rng(0)
    sequences = []
    for number in range(DOCUMENTS):
        tokens = draw.permutation(np.arange(2, VOCABULARY)).tolist()
        refine = list(zip(tokens[100 : 100 + REFINE_TOKENS], tokens[200 : 200 + REFINE_TOKENS], strict=True))
        sequences.append(token_sequence(f"d{number}", tokens[:WORDS], range(0, WORDS, 8), tokens[80 : 80 + CANDIDATES], refine))
    return patch_cases(sequences, phase, Corruptor("swap", 0, 0))


def cpu_seconds(work: Callable[[], object]) -> float:
    """Median of three."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return sorted(taken)[1]


def whole_runs(model: LlamaForCausalLM, parts: DecoderParts, chosen: list[PatchCase]) -> None:
    """The same runs over all tokens, with logits of all tokens."""
    rows = torch.from_numpy(np.stack([case.rows for case in chosen]))
    no_marks, source = [0] * len(chosen), Source()
    clean, corrupted = (
        aligned(ids, no_marks, model.device)
        for ids in ([case.sequence.token_ids for case in chosen], [case.corrupted_ids for case in chosen])
    )
    with torch.no_grad():
        with explicit_attention(parts, rows, "pattern", record=source):
            model(input_ids=clean.token_ids)
        for heads in SETS:
            for inputs in (clean, corrupted):
                with explicit_attention(parts, rows, "pattern", Patch(heads.by_layer, source)):
                    model(input_ids=inputs.token_ids)


@pytest.mark.bench
@pytest.mark.parametrize(("phase", "times"), [("shortlist", 5.0), ("refine", 2.0)])
def test_patched_runs_share_what_comes_before_the_patched_rows(phase: Phase, times: float) -> None:
    torch.set_num_threads(1)
    model, chosen = decoder(), cases(phase)
    parts, settings = watch_heads(model), HeadsConfig(batch_size=DOCUMENTS)
    ours = cpu_seconds(lambda: patch_block(model, parts, Block(phase, 0, tuple(chosen)), SETS, settings))
    whole = cpu_seconds(lambda: whole_runs(model, parts, chosen))
    runs = 2 * len(SETS)
    sys.stdout.write(
        f"{phase}: {1000 * ours / runs:.1f} ms CPU a patched run of {DOCUMENTS} documents, {1000 * whole / runs:.1f} ms as a "
        f"whole run with logits: {whole / ours:.1f} times\n"
    )
    assert whole / ours > times
