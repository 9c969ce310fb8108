"""Our values beside those of pyxclib.

Made by running, unchanged but for docstrings, `precision`, `recall`, `ndcg`, `psprecision`, `psndcg` and
`compute_inv_propesity` of github.com/kunaldahiya/pyxclib, xclib/evaluation/xc_metrics.py at commit
ae5410f10080742758cdd533f768e3fe5b4f4de3, with `topk` of xclib/utils/sparse.py at commit
e554bb6c6426bf38d786d14e8e02830384e26f2c (its numba route), numpy 2.4.6, scipy 1.17.1, numba 0.68.1, k = 8, A = 0.55,
B = 1.5. Input: float64 csr matrices of 8 documents x 12 labels, drawn once with numpy's default_rng(7): six scored labels
a document (shorter than k = 8), 1 to 8 targets, train counts of 40 documents. pyxclib keeps nDCG in float32.
"""

import polars as pl
import pytest

from tasks.evaluation.metrics import document_values, find_hits
from tasks.evaluation.propensity import inverse_propensities

TRAIN_COUNTS = [1, 2, 5, 6, 8, 6, 13, 12, 11, 19, 15, 19]
TRAIN_DOCUMENTS = 40
TARGETS = [[0], [3, 7], [4, 8], [0, 2, 10], [3, 7, 8], [9], [0, 1, 2, 5, 6, 7, 9, 11], [2, 7, 11]]
RANKED = [
    [7, 6, 2, 8, 1, 11],
    [10, 5, 4, 1, 8, 7],
    [2, 6, 9, 3, 11, 4],
    [2, 10, 8, 0, 11, 1],
    [3, 9, 10, 8, 1, 5],
    [9, 11, 4, 6, 10, 7],
    [5, 9, 1, 2, 0, 10],
    [5, 0, 10, 4, 2, 1],
]
INVERSE_PROPENSITIES = [
    3.6888794541139367, 3.234605755771426, 2.589776201027455, 2.4694494227015085, 2.290298981748819, 2.4694494227015085,
    2.02255325669512, 2.0635422929368223, 2.1095268854971856, 1.8452276853270373, 1.9524060995903627, 1.8452276853270373,
]  # fmt: skip
PYXCLIB = {
    "P": [0.5, 0.375, 0.29166667, 0.3125, 0.3, 0.29166667, 0.25, 0.21875],
    "R": [0.22395833, 0.28125, 0.296875, 0.39583333, 0.453125, 0.578125, 0.578125, 0.578125],
    "nDCG": [0.5, 0.45164341, 0.40432993, 0.45485675, 0.47754949, 0.51867771, 0.50845903, 0.50037527],
    "PSP": [0.41238699, 0.35693905, 0.36174875, 0.51847368, 0.62288846, 0.68249439, 0.65906583, 0.63719239],
    "PSnDCG": [0.41238695, 0.36783338, 0.34834245, 0.40829515, 0.44168746, 0.47655109, 0.4682152, 0.46156412],
}


def weights() -> list[float]:
    counts = pl.DataFrame({"label_id": range(12), "train_document_count": TRAIN_COUNTS})
    return inverse_propensities(counts, TRAIN_DOCUMENTS, 0.55, 1.5)["inverse_propensity"].to_list()


def test_inverse_propensities_equal_pyxclib() -> None:
    assert weights() == pytest.approx(INVERSE_PROPENSITIES, rel=1e-12)


def pairs(lists: list[list[int]]) -> pl.DataFrame:
    rows = [(str(d), label, rank) for d, labels in enumerate(lists) for rank, label in enumerate(labels, 1)]
    schema = {"document_id": pl.String, "label_id": pl.Int32, "rank": pl.Int32}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize("metric", PYXCLIB)
def test_document_values_equal_pyxclib(metric: str) -> None:
    by_label = pl.DataFrame({"label_id": range(12), "inverse_propensity": weights()}, schema_overrides={"label_id": pl.Int32})
    targets = pairs(TARGETS).drop("rank").join(by_label, on="label_id")
    predictions = pairs(RANKED).with_columns(system=pl.lit("s"), seed=pl.lit(0, pl.Int32))
    values = document_values(find_hits(predictions, targets), targets, {"s": (0,)}, range(1, 9))
    ratios = values.numerators["s"][0].sum(axis=0) / values.denominators.sum(axis=0)
    found = dict(zip(values.columns, ratios.tolist(), strict=True))
    assert [found[metric, k] for k in range(1, 9)] == pytest.approx(PYXCLIB[metric], abs=2e-7)
