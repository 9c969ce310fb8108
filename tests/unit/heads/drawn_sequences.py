"""Sequences of random tokens with places of every kind, for models that mean nothing by them."""

import numpy as np

from tasks.sequences.tokens import TokenSequence
from tests.support.tiny_decoders import VOCABULARY


def drawn_sequence(seed: int, candidate_count: int = 4, anchor_count: int = 2, refine_count: int = 3) -> TokenSequence:
    """A document of eight words, candidates of one or two tokens of which every other is kept, refinement steps after them."""
    draw = np.random.default_rng(seed)
    document = np.arange(1, 9)
    spans, at = [], 10
    for _ in range(candidate_count):
        length = int(draw.integers(1, 3))
        spans.append(np.arange(at, at + length))
        at += length
    refine_rows = at + 1 + 2 * np.arange(refine_count)
    starts = np.array([span[0] for span in spans], dtype=np.int64)
    tokens = draw.integers(1, VOCABULARY, at + 2 * refine_count + 3)
    return TokenSequence(
        document_id=f"d{seed}",
        trace_id=f"t{seed}",
        token_ids=tokens,
        document=document,
        anchors=np.sort(draw.choice(document, anchor_count, replace=False)),
        response_start=9,
        refine_start=at,
        early_rows=starts - 1,
        early_tokens=tokens[starts],
        candidate_spans=tuple(spans),
        is_kept=np.arange(candidate_count) % 2 == 0,
        candidate_labels=np.arange(candidate_count),
        refine_rows=refine_rows,
        margin_tokens=draw.integers(1, VOCABULARY, (refine_count, 2)),
        refine_labels=np.tile([0, 1], (refine_count, 1)),
        refine_positions=tuple(np.linspace(0.5, 1.0, refine_count).tolist()),
    )
