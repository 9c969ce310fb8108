"""Ranking metrics, document by document, each as numerator and denominator of a ratio of sums.

A metric is (sum over documents of its numerator) / (sum over documents of its denominator): a plain mean has
denominator 1, PSP@k and PSnDCG@k have the ideal's value there, coverage@k the document's part of the labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tasks.intervals.resampling import DocumentValues, Values

PerCutoff = Callable[[int], pl.Expr]

PAIR = ("document_id", "label_id")


@dataclass(frozen=True)
class Metric:
    """A document's numerator and denominator at k, from its sums (`_sums`) over hits and over the best ranking."""

    numerator: PerCutoff
    denominator: PerCutoff = lambda k: pl.lit(1.0)


def _at(name: str) -> PerCutoff:
    return lambda k: pl.col(f"{name}@{k}")


_hits, _dcg, _weight, _weighted_dcg, _covered = (_at(name) for name in ("hits", "dcg", "weight", "weighted_dcg", "covered"))
_best_hits, _best_dcg, _best_weight, _best_weighted_dcg = (
    _at(name) for name in ("best_hits", "best_dcg", "best_weight", "best_weighted_dcg")
)

METRICS = {
    "P": Metric(lambda k: _hits(k) / k),
    "R": Metric(lambda k: _hits(k) / pl.col("target_count")),
    "nDCG": Metric(lambda k: _dcg(k) / _best_dcg(k)),
    "RP": Metric(lambda k: _hits(k) / _best_hits(k)),
    "PSP": Metric(lambda k: _weight(k) / k, lambda k: _best_weight(k) / k),
    "PSnDCG": Metric(lambda k: _weighted_dcg(k) / _best_dcg(k), lambda k: _best_weighted_dcg(k) / _best_dcg(k)),
    "coverage": Metric(_covered, lambda k: pl.col("label_share")),
}


def find_hits(predictions: pl.DataFrame, targets: pl.DataFrame) -> pl.DataFrame:
    """The predictions that are targets: `system`, `seed`, `document_id`, `label_id` and best `rank`.

    All metrics follow from these rows and the targets, so the long table of predictions is read once, and may be read
    in parts that hold whole lists. Rows are sorted: sums over them then come out the same to the last bit.
    """
    hits = targets.lazy().select(PAIR).join(predictions.lazy(), on=PAIR)
    key = ("system", "seed", *PAIR)
    return hits.group_by(key).agg(pl.col("rank").min()).sort(key).collect()


def document_values(
    hits: pl.DataFrame, targets: pl.DataFrame, seeds: dict[str, tuple[int, ...]], ks: Sequence[int]
) -> DocumentValues:
    """Every metric at every k of every system and seed, on every document that has a target.

    With y the targets of a document and hits_k those among its first k predictions:

    - P@k = hits_k / k, also where the list is shorter than k.
    - R@k = hits_k / |y|. RP@k = hits_k / min(k, |y|).
    - nDCG@k = sum over hits_k of 1 / log2(rank + 1), divided by that sum over ranks 1 to min(k, |y|).
    - PSP@k = sum over hits_k of 1 / p_l, divided by k; its denominator is the most any ranking reaches.
    - PSnDCG@k = sum over hits_k of 1 / (p_l log2(rank + 1)), divided as nDCG@k is; its denominator likewise.
    - coverage@k = share of the distinct target labels that at least one document has among its hits_k. Of a label
      that n documents have, each holds 1 / n; so when documents are resampled, which labels are asked for varies, and
      which of them are covered is taken as given.

    All lie in 0 to 1. A document of which a system predicts nothing right, or nothing at all, counts 0.

    Args:
        hits: of `find_hits`; those that are not among `targets` are ignored.
        targets: `document_id`, `label_id`, `inverse_propensity` of what counts; each pair once.
        seeds: the seeds of every system, whether or not it has hits.
        ks: cutoffs.

    Source: pyxclib `xc_metrics.py` (P, R, nDCG, PSP, PSnDCG), there x100; D'Oosterlinck et al., arXiv:2401.12178 (RP);
        napkinXC `coverage_at_k`.
    """
    rows = targets.select("document_id").unique().sort("document_id").with_row_index("row")
    known = targets.join(rows, on="document_id").sort("row", "label_id").with_columns(label_share=1.0 / pl.len().over("label_id"))
    ideal = _best_ranking(known, ks)
    counted = hits.join(known.select(*PAIR, "row", "inverse_propensity"), on=PAIR, maintain_order="left")
    parts = counted.partition_by("system", "seed", as_dict=True)
    numerators = {
        system: np.stack([_numerators(parts.get((system, seed), counted.clear()), known, ideal, ks) for seed in its_seeds])
        for system, its_seeds in seeds.items()
    }
    columns = tuple((name, k) for name in METRICS for k in ks)
    return DocumentValues(columns, seeds, numerators, _table(ideal, [METRICS[name].denominator(k) for name, k in columns]))


def _sums(ks: Sequence[int], prefix: str = "") -> list[pl.Expr]:
    gain = 1.0 / (pl.col("rank") + 1).log(2)
    weight = pl.col("inverse_propensity")
    terms = {"hits": pl.lit(1.0), "dcg": gain, "weight": weight, "weighted_dcg": weight * gain}
    return [
        pl.when(pl.col("rank") <= k).then(term).otherwise(0.0).sum().alias(f"{prefix}{name}@{k}")
        for name, term in terms.items()
        for k in ks
    ]


def _best_ranking(known: pl.DataFrame, ks: Sequence[int]) -> pl.DataFrame:
    """A row a document, in order of `row`: |y|, its part of the labels, and the sums of the best possible ranking."""
    best = known.sort("row", "inverse_propensity", "label_id", descending=[False, True, False])
    best = best.with_columns(rank=pl.int_range(1, pl.len() + 1).over("row"))
    sums = best.group_by("row").agg(*_sums(ks, "best_"), pl.col("label_share").sum(), target_count=pl.len())
    return sums.sort("row")


def _numerators(hits: pl.DataFrame, known: pl.DataFrame, ideal: pl.DataFrame, ks: Sequence[int]) -> Values:
    gained = hits.group_by("row").agg(_sums(ks))
    best_ranks = hits.group_by("label_id").agg(pl.col("rank").min())
    shares = [pl.col("label_share").filter(pl.col("rank") <= k).sum().alias(f"covered@{k}") for k in ks]
    covered = known.join(best_ranks, on="label_id", maintain_order="left").group_by("row").agg(shares)
    frame = ideal
    for part in (gained, covered):
        frame = frame.join(part, on="row", how="left", maintain_order="left")
    return _table(frame.fill_null(0), [metric.numerator(k) for metric in METRICS.values() for k in ks])


def _table(frame: pl.DataFrame, cells: list[pl.Expr]) -> Values:
    named = [cell.cast(pl.Float64).alias(str(column)) for column, cell in enumerate(cells)]
    return frame.with_columns(named).select(str(column) for column in range(len(cells))).to_numpy()
