"""Scores of heads over documents: means with intervals, by layer, how far a score follows the layers, how reliable it is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float
from scipy.stats import rankdata

from schemas.errors import EmptyTargetError
from schemas.fields import SCORE_NAMES
from schemas.tables import CORE_HEAD_DOCUMENT_SCORES
from tasks.heads.resampling import HIGH, LOW, draw_weights, mean_intervals, percentile_interval
from tasks.open_models.scores import HeadScores, PerHead

SPLITS = 200
"""Random halvings of the documents for the reliability of a score; its mean then moves by less than 0.01 between seeds."""

WHOLE_MODEL = -1
RANKED = {"coarse_score": "coarse", "refine_score": "refine"}
"""The scores that rank heads, and how columns of their intervals begin."""

Column = Float[np.ndarray, " head"]


def document_rows(scores: HeadScores, document_ids: list[str]) -> pl.DataFrame:
    """Scores as rows of `core_head_document_scores` without dataset and model; what is not there is null."""
    documents, layers, heads = scores.kurtosis.shape
    document, layer, head = np.indices((documents, layers, heads)).reshape(3, -1)
    columns = {name: pl.Series(getattr(scores, name).ravel(), dtype=pl.Float64).fill_nan(None) for name in SCORE_NAMES}
    keys = {"document_id": np.array(document_ids, dtype=object)[document].tolist(), "layer": layer, "head": head}
    types = CORE_HEAD_DOCUMENT_SCORES.schema
    return pl.DataFrame(keys | columns).cast({name: types[name] for name in keys})


@dataclass(frozen=True)
class ScoreTable:
    """Scores of all heads on all documents by score name, [document, layer, head], NaN where null."""

    document_ids: tuple[str, ...]
    values: dict[str, PerHead]

    def known(self, name: str) -> PerHead:
        """One score on the documents that have it."""
        values = self.values[name]
        return np.asarray(values[np.isfinite(values).all(axis=(1, 2))])


def read_scores(rows: pl.DataFrame) -> ScoreTable:
    """The table of `document_rows`, any number of documents.

    Raises:
        EmptyTargetError: fewer than two documents, so that no interval exists, or nothing is scored on two of them.
    """
    ordered = rows.sort("document_id", "layer", "head")
    documents = ordered["document_id"].unique(maintain_order=True).to_list()
    layers, heads = (int(ordered[name].max()) + 1 if len(ordered) else 0 for name in ("layer", "head"))  # type: ignore[arg-type]
    shape = (len(documents), layers, heads)
    values = {name: ordered[name].fill_null(np.nan).to_numpy().reshape(shape) for name in SCORE_NAMES}
    table = ScoreTable(tuple(documents), values)
    if len(documents) < 2:
        raise EmptyTargetError(
            f"heads are scored on {len(documents)} document(s), so no interval over documents exists; trace more train "
            "documents, or raise heads.score_documents"
        )
    counts = {name: len(table.known(name)) for name in RANKED}
    if all(count < 2 for count in counts.values()):
        raise EmptyTargetError(
            f"of {len(documents)} scored documents {counts['coarse_score']} have anchors and a shortlist, "
            f"{counts['refine_score']} a refinement step with kept and dropped candidates before it; two are needed"
        )
    _refuse_silence(table)
    return table


def _refuse_silence(table: ScoreTable) -> None:
    """Heads that write nothing have no score, whatever they attend to."""
    written = [table.known(name) for name in ("anchor_alignment", "ov_helpfulness")]
    if not any(np.any(values) for values in written):
        raise EmptyTargetError(
            "no head writes anything at a scored row: all heads are masked, pruned or zero, so there is nothing to rank"
        )


def head_scores(table: ScoreTable, resample_count: int, seed: int) -> pl.DataFrame:
    """Means over documents, as rows of `core_head_scores` without dataset and model.

    Args:
        table: scores of documents.
        resample_count: resamples of the intervals.
        seed: draws them.
    """
    _, layers, heads = table.values["kurtosis"].shape
    layer, head = np.indices((layers, heads)).reshape(2, -1)
    frame = pl.DataFrame({"layer": layer, "head": head}).with_columns(document_count=pl.lit(len(table.document_ids)))
    none = np.full(len(frame), np.nan)
    columns: dict[str, Column] = {}
    for name in SCORE_NAMES:
        known = _by_head(table.known(name))
        columns[name] = known.mean(axis=0) if len(known) else none
        if name in RANKED:
            ends = mean_intervals(known, resample_count, seed) if len(known) else (none, none)
            columns |= dict(zip((f"{RANKED[name]}_ci_low", f"{RANKED[name]}_ci_high"), ends, strict=True))
    return frame.with_columns([pl.Series(name, values, pl.Float64).fill_nan(None) for name, values in columns.items()])


def _by_head(values: PerHead) -> Float[np.ndarray, "document head"]:
    return values.reshape(len(values), values.shape[1] * values.shape[2])


@dataclass(frozen=True)
class Summary:
    """One row of `core_head_profiles` without dataset and model."""

    score_name: str
    summary: str
    layer: int
    value: float
    ci_low: float
    ci_high: float
    document_count: int


def head_profiles(table: ScoreTable, resample_count: int, seed: int) -> list[Summary]:
    """Layer means of every score, and of the two that rank heads: order by layer and reliability; undefined ones are left out.

    Args:
        table: scores of documents.
        resample_count: resamples of the intervals.
        seed: draws them, and the halvings.
    """
    found: list[Summary] = []
    for name in SCORE_NAMES:
        known = table.known(name)
        if len(known) < 2:
            continue
        found += layer_means(name, known, resample_count, seed)
        if name in RANKED:
            found += layer_order(name, known, resample_count, seed)
            found += split_half(name, known, seed)
    return found


def layer_means(name: str, values: PerHead, resample_count: int, seed: int) -> Iterator[Summary]:
    """The mean of a score over the heads of each layer and the documents, with its interval."""
    by_layer = values.mean(axis=2)
    ends = mean_intervals(by_layer, resample_count, seed)
    for layer, (mean, low, high) in enumerate(zip(by_layer.mean(axis=0), *ends, strict=True)):
        yield Summary(name, "layer_mean", layer, float(mean), float(low), float(high), len(values))


def layer_order(name: str, values: PerHead, resample_count: int, seed: int) -> Iterator[Summary]:
    """Spearman's correlation of a head's layer and its score, over all heads; its interval by resampling documents.

    Nothing for a model of one layer, or whose heads all score the same.
    """
    layers = np.repeat(np.arange(values.shape[1]), values.shape[2])
    by_head = _by_head(values)
    observed = spearman(by_head.mean(axis=0)[None], layers)
    if np.isfinite(observed).all():
        resampled = spearman(draw_weights(len(values), resample_count, seed) @ by_head, layers)
        low, high = percentile_interval(np.where(np.isfinite(resampled), resampled, 0.0)[:, None], observed)
        yield Summary(name, "layer_order", WHOLE_MODEL, float(observed[0]), float(low[0]), float(high[0]), len(values))


def spearman(scores: Float[np.ndarray, "draw head"], layers: Float[np.ndarray, " head"]) -> Float[np.ndarray, " draw"]:
    """Spearman's rank correlation of each row with the layers, ties at their mean rank; NaN where all are equal.

    Source: Spearman, The proof and measurement of association between two things, 1904.
    """
    return _correlation(rankdata(scores, axis=1), rankdata(layers)[None])


def _correlation(first: Float[np.ndarray, "draw head"], second: Float[np.ndarray, "draw head"]) -> Float[np.ndarray, " draw"]:
    """Pearson's correlation row by row; NaN where one row is constant."""
    first, second = (values - values.mean(axis=1, keepdims=True) for values in (first, second))
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    return np.where(scale > 0, (first * second).sum(axis=1) / np.where(scale > 0, scale, 1.0), np.nan)


def split_half(name: str, values: PerHead, seed: int) -> Iterator[Summary]:
    """Reliability of the ranking: how far the heads' scores of one half of the documents go with those of the other half.

    Pearson's correlation over heads, corrected to the full number of documents, mean over `SPLITS` random halvings; its ends are
    the range that 95% of the halvings lie in. Nothing where all heads score the same.

    Source: Spearman 1910 and Brown 1910: 2 r / (1 + r). Of a negative r we take 2 r / (1 + |r|), which stays above -1.
    """
    by_head, count = _by_head(values), len(values)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(count), (SPLITS, 1)), axis=1)
    is_first = np.zeros((SPLITS, count), dtype=np.float64)
    np.put_along_axis(is_first, order[:, : count // 2], 1.0, axis=1)
    halves = (is_first @ by_head / (count // 2), (1 - is_first) @ by_head / (count - count // 2))
    halved = _correlation(*halves)
    whole = 2 * halved / (1 + np.abs(halved))
    if np.isfinite(whole).all():
        low, high = np.percentile(whole, (LOW, HIGH))
        yield Summary(name, "split_half", WHOLE_MODEL, float(whole.mean()), float(low), float(high), count)
