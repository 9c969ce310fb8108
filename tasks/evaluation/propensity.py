"""How likely a relevant label was recorded at all: rare labels are missed more often, so their hits weigh more."""

import math

import polars as pl

from schemas.errors import EmptyTargetError

LEAST_TRAIN_DOCUMENTS = 3
"""ln N - 1 must be positive, else rare labels would weigh less than frequent ones."""


def inverse_propensities(counts: pl.DataFrame, train_document_count: int, a: float, b: float) -> pl.DataFrame:
    """`counts` with `inverse_propensity` 1 / p of each label: above 1, higher for rarer labels.

    1 / p = 1 + C (N_l + B)^-A with C = (ln N - 1)(B + 1)^A; N and N_l count *train* documents.

    Args:
        counts: `label_id` and `train_document_count` N_l of every label.
        train_document_count: N, all train documents, those without a target included.
        a: A of the model; 0.55, for Wikipedia 0.5, for Amazon 0.6.
        b: B of the model; 1.5, for Wikipedia 0.4, for Amazon 2.6.

    Raises:
        EmptyTargetError: fewer than 3 train documents.

    Source: Jain, Prabhu and Varma, KDD 2016, section 4; equal to pyxclib's `compute_inv_propesity`.
    """
    if train_document_count < LEAST_TRAIN_DOCUMENTS:
        raise EmptyTargetError(
            f"propensities: {train_document_count} train documents, at least {LEAST_TRAIN_DOCUMENTS} needed; ingest a train split"
        )
    c = (math.log(train_document_count) - 1) * (b + 1) ** a
    return counts.with_columns(inverse_propensity=1 + c * (pl.col("train_document_count") + b).pow(-a))
