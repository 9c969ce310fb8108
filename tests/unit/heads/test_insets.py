from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from schemas.fields import FIELDS
from tasks.heads.insets import choose_document, inset_rows
from tasks.open_models.watching import watch_heads
from tests.support.planted_decoder import COARSE_HEAD, REFINE_HEAD, VOCABULARY, planted_decoder, planted_sequence
from tests.support.tiny_tokenizers import word_level

SCORES = pl.DataFrame(
    {"layer": [0, 1], "head": [COARSE_HEAD, REFINE_HEAD], "coarse_score": [5.0, 0.1], "refine_score": [0.0, 1.0]}
)


def inset(scores: pl.DataFrame) -> pl.DataFrame:
    tokenizer = word_level([" ".join(f"w{i}" for i in range(2, VOCABULARY))])
    return inset_rows(watch_heads(planted_decoder()), planted_sequence(0), scores, tokenizer, torch.device("cpu"))


def test_inset_rows_show_the_planted_heads_on_anchors_and_on_kept_candidates() -> None:
    rows, sequence = inset(SCORES), planted_sequence(0)
    coarse, refine = (rows.filter(phase=phase) for phase in ("shortlist", "refine"))
    assert coarse["token_index"].to_list() == sequence.document.tolist()
    assert coarse.filter("is_anchor")["token_index"].to_list() == sequence.anchors.tolist()
    assert coarse.filter("is_anchor")["attention_frac"].sum() == pytest.approx(1.0, abs=1e-3)
    kept = np.concatenate([span for span, is_kept in zip(sequence.candidate_spans, sequence.is_kept, strict=True) if is_kept])
    assert refine.filter(pl.col("token_index").is_in(kept.tolist()))["attention_frac"].sum() > 0.5
    assert refine.select(pl.struct("layer", "head").unique()).to_series().to_list() == [{"layer": 1, "head": REFINE_HEAD}]


def test_inset_rows_have_the_tokens_as_text() -> None:
    texts = inset(SCORES).filter(phase="shortlist")["token_text"].to_list()
    assert texts == [f"w{token}" for token in planted_sequence(0).token_ids[planted_sequence(0).document].tolist()]


def test_a_phase_without_a_score_has_no_inset() -> None:
    rows = inset(SCORES.with_columns(refine_score=pl.lit(None, FIELDS["refine_score"].dtype)))
    assert rows["phase"].unique().to_list() == ["shortlist"]


def test_choose_document_takes_the_first_that_is_complete() -> None:
    whole = planted_sequence(3)
    bare = replace(planted_sequence(1), anchors=np.array([], dtype=np.int64))
    assert choose_document([planted_sequence(5), whole, bare]) == whole
    assert choose_document([bare]) is None
