import polars as pl
import pytest

from tasks.trials.choice import OBJECTIVE, TrialResult, Tried, choose_trials, describe_choices, list_trials, mean_result
from tasks.trials.drawing import Trial


def tried(system: str, number: int, first: float, second: float) -> Tried:
    result = TrialResult(metrics={"precision_at_1": first, "recall_at_10": second}, seed_count=1, document_count=40)
    return Tried(system, Trial(number, (("rate", 0.1 * number), ("weight", 1.0))), result)


ALL = [
    tried("a", 0, 0.5, 0.5), tried("a", 1, 0.9, 0.3), tried("a", 2, 0.2, 0.4),
    tried("b", 0, 0.4, 0.6), tried("b", 1, 0.6, 0.4), tried("b", 2, 0.1, 0.2),
]  # fmt: skip


def test_choose_trials_takes_the_best_mean_of_each_system() -> None:
    first, second = choose_trials(ALL)
    assert (first.system, first.trial.number) == ("a", 1)
    assert (first.objective, first.default_objective, first.worst_objective) == pytest.approx((0.6, 0.5, 0.3))
    assert (first.trial_count, first.document_count) == (3, 40)
    assert second.system == "b"


def test_choose_trials_keeps_the_default_where_it_is_as_good_as_the_best() -> None:
    assert choose_trials(ALL[::-1])[0].trial.number == 0  # of system b


def test_list_trials_has_a_row_a_metric_and_marks_one_trial_a_system() -> None:
    rows = list_trials(ALL, choose_trials(ALL))
    assert len(rows) == len(ALL) * 3
    chosen = rows.filter("is_chosen")
    assert set(chosen.select("system", "trial").iter_rows()) == {("a", 1), ("b", 0)}
    assert chosen.filter(pl.col("system") == "a", pl.col("metric") == OBJECTIVE)["value"].item() == pytest.approx(0.6)


def test_mean_result_is_over_seeds() -> None:
    found = mean_result([{"precision_at_1": 0.25}, {"precision_at_1": 0.75}], 7)
    assert found == TrialResult(metrics={"precision_at_1": 0.5}, seed_count=2, document_count=7)


def test_describe_choices_names_only_settings_that_a_system_uses() -> None:
    text = describe_choices(choose_trials(ALL), {"a": ("rate",), "b": ("rate", "weight")})
    assert text.splitlines() == [
        "a: trial 1 of 3, rate 0.1; objective 0.6000 on 40 development documents, default 0.5000, worst 0.3000",
        "b: trial 0 of 3, rate 0, weight 1; objective 0.5000 on 40 development documents, default 0.5000, worst 0.1500",
    ]
