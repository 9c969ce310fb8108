from collections.abc import Mapping, Sequence
from math import log2

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluation.metrics import METRICS, document_values, find_hits
from tasks.intervals.resampling import DocumentValues

Lists = Mapping[str, Sequence[int]]


def ranked(lists: Lists, system: str = "s", seed: int = 0) -> pl.DataFrame:
    rows = [(system, seed, d, label, rank) for d, labels in lists.items() for rank, label in enumerate(labels, 1)]
    schema = {"system": pl.String, "seed": pl.Int32, "document_id": pl.String, "label_id": pl.Int32, "rank": pl.Int32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def wanted(targets: Lists, weights: Mapping[int, float] | None = None) -> pl.DataFrame:
    rows = [(d, label, (weights or {}).get(label, 1.0)) for d, labels in targets.items() for label in labels]
    schema = {"document_id": pl.String, "label_id": pl.Int32, "inverse_propensity": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def values_of(
    systems: Mapping[str, Sequence[Lists]], targets: Lists, ks: Sequence[int], weights: Mapping[int, float] | None = None
) -> DocumentValues:
    """The values of systems given as one mapping of lists a seed."""
    parts = [ranked(lists, name, seed) for name, seeds in systems.items() for seed, lists in enumerate(seeds)]
    known = wanted(targets, weights)
    seeds = {name: tuple(range(len(lists))) for name, lists in systems.items()}
    return document_values(find_hits(pl.concat(parts), known), known, seeds, ks)


def metrics_of(
    lists: Lists, targets: Lists, ks: Sequence[int], weights: Mapping[int, float] | None = None
) -> dict[tuple[str, int], float]:
    """Every metric at every k of one system."""
    values = values_of({"s": [lists]}, targets, ks, weights)
    ratios = values.numerators["s"][0].sum(axis=0) / values.denominators.sum(axis=0)
    return dict(zip(values.columns, ratios.tolist(), strict=True))


PREDICTED = {"a": [4, 1, 7, 2], "b": [9, 3]}
TARGETS = {"a": [1, 2, 8], "b": [3]}


def test_document_values_precision_divides_short_lists_by_k() -> None:
    found = metrics_of(PREDICTED, TARGETS, (1, 2, 5))
    assert found["P", 1] == 0
    assert found["P", 2] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert found["P", 5] == pytest.approx((2 / 5 + 1 / 5) / 2)


def test_document_values_recall_divides_by_all_targets() -> None:
    found = metrics_of(PREDICTED, TARGETS, (2, 5))
    assert found["R", 2] == pytest.approx((1 / 3 + 1) / 2)
    assert found["R", 5] == pytest.approx((2 / 3 + 1) / 2)


def test_document_values_rp_divides_by_the_smaller_of_k_and_targets() -> None:
    found = metrics_of(PREDICTED, TARGETS, (2, 5))
    assert found["RP", 2] == pytest.approx((1 / 2 + 1) / 2)
    assert found["RP", 5] == pytest.approx((2 / 3 + 1) / 2)


def test_document_values_ndcg_by_hand() -> None:
    found = metrics_of(PREDICTED, TARGETS, (2, 5))
    ideal_of_3 = 1 + 1 / log2(3) + 1 / log2(4)
    assert found["nDCG", 2] == pytest.approx(((1 / log2(3)) / (1 + 1 / log2(3)) + 1 / log2(3)) / 2)
    assert found["nDCG", 5] == pytest.approx(((1 / log2(3) + 1 / log2(5)) / ideal_of_3 + 1 / log2(3)) / 2)


def test_document_values_psp_is_the_ratio_of_the_means() -> None:
    weights = {1: 2.0, 2: 5.0, 8: 3.0, 3: 4.0}
    found = metrics_of(PREDICTED, TARGETS, (1, 2, 5), weights)
    assert found["PSP", 1] == 0
    assert found["PSP", 2] == pytest.approx((2 / 2 + 4 / 2) / ((5 + 3) / 2 + 4 / 2))
    assert found["PSP", 5] == pytest.approx((7 + 4) / (10 + 4))
    mean_of_ratios = (2 / 8 + 4 / 4) / 2
    assert found["PSP", 2] != pytest.approx(mean_of_ratios)


def test_document_values_psndcg_by_hand() -> None:
    weights = {1: 2.0, 2: 5.0, 8: 3.0, 3: 4.0}
    found = metrics_of(PREDICTED, TARGETS, (2,), weights)
    ideal_of_2 = 1 + 1 / log2(3)
    ours = (2 / log2(3)) / ideal_of_2 + (4 / log2(3)) / 1
    best = (5 + 3 / log2(3)) / ideal_of_2 + 4 / 1
    assert found["PSnDCG", 2] == pytest.approx(ours / best)


def test_document_values_coverage_counts_a_label_once_however_often_it_is_hit() -> None:
    predicted = {"a": [1, 5], "b": [1, 2], "c": [6, 1]}
    targets = {"a": [1], "b": [1, 2], "c": [1, 3]}
    found = metrics_of(predicted, targets, (1, 2))
    assert found["coverage", 1] == pytest.approx(1 / 3)
    assert found["coverage", 2] == pytest.approx(2 / 3)


def test_document_values_k_beyond_all_targets() -> None:
    found = metrics_of({"a": [1, 2]}, {"a": [1, 2]}, (100,))
    assert found["P", 100] == pytest.approx(2 / 100)
    assert [found[m, 100] for m in ("R", "nDCG", "RP", "PSP", "PSnDCG", "coverage")] == pytest.approx([1] * 6)


def test_document_values_leave_out_documents_without_a_target() -> None:
    values = values_of({"s": [{"a": [1], "no-target": [1, 2, 3]}]}, {"a": [1]}, (1,))
    assert values.denominators.shape == (1, 7)
    assert values.numerators["s"][0, 0].tolist() == pytest.approx([1.0] * 6 + [1.0])


def test_document_values_count_an_empty_prediction_as_a_miss() -> None:
    found = metrics_of({"a": [1]}, {"a": [1], "b": [2]}, (1,))
    assert [found[m, 1] for m in METRICS] == pytest.approx([0.5] * 7)


def test_document_values_score_a_system_without_any_hit() -> None:
    known = wanted({"a": [1], "b": [2]})
    values = document_values(find_hits(ranked({"a": [2]}), known), known, {"s": (0,), "silent": (0,)}, (1, 3))
    assert values.numerators["silent"].shape == (1, 2, 14)
    assert not values.numerators["silent"].any()
    assert not values.numerators["s"].any()


def test_document_values_keep_seeds_apart() -> None:
    values = values_of({"s": [{"a": [1]}, {"a": [2]}]}, {"a": [1]}, (1,))
    assert values.seeds == {"s": (0, 1)}
    assert values.numerators["s"][:, 0, 0].tolist() == [1, 0]


def test_find_hits_takes_the_best_place_of_a_label_that_is_listed_twice() -> None:
    hits = find_hits(ranked({"a": [5, 1, 1]}), wanted({"a": [1]}))
    assert hits.select("label_id", "rank").rows() == [(1, 2)]


def test_find_hits_in_parts_equals_the_whole() -> None:
    predictions, known = ranked(PREDICTED), wanted(TARGETS)
    parts = [find_hits(predictions.filter(pl.col("document_id") == d), known) for d in PREDICTED]
    key = ["document_id", "label_id"]
    assert pl.concat(parts).sort(key).equals(find_hits(predictions, known).sort(key))


labels = st.integers(0, 15)
case = st.lists(
    st.tuples(st.lists(labels, unique=True, max_size=8), st.lists(labels, unique=True, min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)
label_weights = st.lists(st.floats(1, 50), min_size=16, max_size=16).map(lambda w: dict(enumerate(w)))
KS = (1, 2, 5, 10)
Case = list[tuple[list[int], list[int]]]


def both(rows: Case) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    return {str(i): p for i, (p, _) in enumerate(rows)}, {str(i): t for i, (_, t) in enumerate(rows)}


@settings(max_examples=60, deadline=None)
@given(case, label_weights)
def test_document_values_lie_between_0_and_1(rows: Case, weights: dict[int, float]) -> None:
    found = metrics_of(*both(rows), KS, weights)
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in found.values())


@settings(max_examples=60, deadline=None)
@given(case, label_weights)
def test_document_values_agree_at_the_first_place(rows: Case, weights: dict[int, float]) -> None:
    found = metrics_of(*both(rows), KS, weights)
    assert found["P", 1] == found["nDCG", 1] == found["RP", 1]
    assert found["PSP", 1] == pytest.approx(found["PSnDCG", 1])


@settings(max_examples=60, deadline=None)
@given(case, label_weights)
def test_document_values_never_rise_by_a_wrong_label_at_the_end(rows: Case, weights: dict[int, float]) -> None:
    predicted, targets = both(rows)
    longer = {d: [*labels, 99] for d, labels in predicted.items()}
    before, after = metrics_of(predicted, targets, KS, weights), metrics_of(longer, targets, KS, weights)
    assert after == pytest.approx(before, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(case, label_weights)
def test_document_values_of_the_best_ranking_are_1(rows: Case, weights: dict[int, float]) -> None:
    _, targets = both(rows)
    best = {d: sorted(labels, key=lambda label: -weights[label]) for d, labels in targets.items()}
    found = metrics_of(best, targets, KS, weights)
    assert all(found[m, k] == pytest.approx(1) for m in ("nDCG", "RP", "PSP", "PSnDCG") for k in KS)
    assert found["R", 10] == pytest.approx(1)
    assert found["coverage", 10] == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(case)
def test_document_values_recall_and_coverage_grow_with_k(rows: Case) -> None:
    found = metrics_of(*both(rows), KS)
    for metric in ("R", "coverage"):
        at = [found[metric, k] for k in KS]
        assert at == sorted(at)
