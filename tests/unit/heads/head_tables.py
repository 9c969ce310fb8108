"""Scores of heads drawn at random around a known profile."""

import numpy as np
import polars as pl

from schemas.fields import SCORE_NAMES
from tasks.heads.summaries import ScoreTable, document_rows, read_scores
from tasks.open_models.scores import HeadScores, PerHead

DOCUMENTS, LAYERS, HEADS = 40, 5, 6


def noisy(profile: PerHead, noise: float, seed: int = 0) -> PerHead:
    """[document, layer, head]: a profile [layer, head] with noise of a document's own."""
    return profile + np.random.default_rng(seed).normal(0, noise, (DOCUMENTS, *profile.shape))


def rising(sign: float = 1.0) -> PerHead:
    """A profile [layer, head] that rises (or falls) with the layer, and a little with the head."""
    layer, head = np.indices((LAYERS, HEADS))
    return sign * (layer + 0.01 * head)


def head_table(coarse: PerHead, refine: PerHead) -> ScoreTable:
    """A table whose other scores are 1 everywhere."""
    return read_scores(rows_of(coarse, refine))


def rows_of(coarse: PerHead, refine: PerHead) -> pl.DataFrame:
    """The same as rows of documents."""
    values = {name: np.ones_like(coarse) for name in SCORE_NAMES} | {"coarse_score": coarse, "refine_score": refine}
    return document_rows(HeadScores(**values), [f"d{i:02}" for i in range(len(coarse))])
