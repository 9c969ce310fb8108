import logging

import numpy as np
import pytest

from tasks.fidelity.measures import Measure, fidelity_rows, mean_of, resample_measure, simulability, weighted_mean
from tasks.fidelity.simulators import Simulated
from tasks.intervals.resampling import Values


def right(text: str) -> np.ndarray:
    return np.array([one == "1" for one in text])


# documents        1 2 3 4 5 6
FOUND = Simulated(
    x=right("100010"),
    e=right("110000"),
    xe=right("111010"),
    masked_e=right("000001"),
    masked_xe=right("100011"),
)


def value(measure: Measure) -> float:
    found = resample_measure("las", {"s": {0: measure}}, 10, 0)
    assert found is not None
    return float(found.observed["s"].item())


def test_simulability_by_hand() -> None:
    found = {name: value(measure) for name, measure in simulability(FOUND).items()}
    # leaking: documents 1 and 2, gains 0 and 1; others: gains 1, 0, 0, 0
    assert found["las_leaking"] == 1 / 2
    assert found["las_nonleaking"] == 1 / 4
    assert found["las"] == (1 / 2 + 1 / 4) / 2
    assert (found["simulator_accuracy_x"], found["simulator_accuracy_e"]) == (2 / 6, 2 / 6)
    assert found["simulator_accuracy_xe"] == 4 / 6
    assert found["leaking_frac"] == 2 / 6
    # masked: document 6 leaks, gain 1; of the others none gains
    assert found["las_masked"] == (1 + 0) / 2


def test_groups_count_alike_whatever_their_size() -> None:
    gain, leaks = np.array([1.0] + [0.0] * 99), np.array([1.0] + [0.0] * 99)
    assert value(Measure(((gain, leaks), (gain, 1 - leaks)))) == 0.5


def test_las_is_undefined_without_a_leaking_document(caplog: pytest.LogCaptureFixture) -> None:
    none = simulability(Simulated(FOUND.x, right("000000"), FOUND.xe, FOUND.masked_e, FOUND.masked_xe))
    measures = {name: {"decoder-cot": {3: measure}} for name, measure in none.items()}
    with caplog.at_level(logging.WARNING):
        rows = fidelity_rows(measures, {}, 20, 0).metrics
    assert set(measures) - set(rows["metric"]) == {"las", "las_leaking"}
    assert "las of decoder-cot is not defined for seeds [3]" in caplog.text
    assert rows.filter(metric="leaking_frac")["document_count"].item() == 6


def test_mean_of_leaves_out_documents_without_a_value() -> None:
    assert value(mean_of(np.array([1.0, np.nan, 0.0, np.nan]))) == 0.5
    assert value(weighted_mean(np.array([2.0, np.nan, 4.0]), np.array([3.0, 5.0, 1.0]))) == 2.5


def drawn(seed: int, mean: float) -> Values:
    return np.random.default_rng(seed).normal(mean, 0.2, 300)


def test_fidelity_rows_have_intervals_and_contrasts_with_each_baseline_that_has_the_metric() -> None:
    systems = {
        "decoder-cot": {seed: mean_of(drawn(seed, 0.5)) for seed in (0, 1)},
        "decoder-mechanistic": {seed: mean_of(drawn(seed, 0.5) - 0.1) for seed in (0, 1)},
    }
    rows = fidelity_rows({"focus_distance": systems}, {"focus_distance": "train"}, 300, 0)
    ours = rows.metrics.filter(system="decoder-cot").row(0, named=True)
    assert ours["ci_low"] < ours["value"] < ours["ci_high"]
    assert (ours["k"], ours["segment"], ours["split"], ours["seed_count"]) == (0, "all", "train", 2)
    assert ours["document_count"] == 300
    (contrast,) = rows.contrasts.to_dicts()
    assert (contrast["system"], contrast["baseline"]) == ("decoder-mechanistic", "decoder-cot")
    assert contrast["difference"] == pytest.approx(-0.1)
    assert contrast["ci_high"] - contrast["ci_low"] < 1e-9  # paired by document and seed


def test_resample_measure_keeps_a_group_that_a_resample_misses() -> None:
    gain, leaks = np.array([1.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0])
    found = resample_measure("las", {"s": {0: Measure(((gain, leaks), (gain, 1 - leaks)))}}, 500, 0)
    assert found is not None
    assert np.isfinite(found.resampled["s"]).all()


def test_resample_measure_without_any_system_is_none() -> None:
    assert resample_measure("las", {}, 10, 0) is None
