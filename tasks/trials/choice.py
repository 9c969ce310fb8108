"""What trials gave, as rows, and the best of each method by the declared objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import polars as pl
from pydantic import BaseModel, ConfigDict

from tasks.trials.drawing import Trial

OBJECTIVE = "objective"
"""Name of the mean of a trial's metrics, by which it is judged."""


class TrialResult(BaseModel):
    """How well one setting did for one method: metrics on the development documents, means over seeds, 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: dict[str, float]
    seed_count: int
    document_count: int

    @property
    def objective(self) -> float:
        """The mean of the metrics, each with the same weight."""
        return fmean(self.metrics.values())


@dataclass(frozen=True)
class Tried:
    """One trial of one system with its result."""

    system: str
    trial: Trial
    result: TrialResult


@dataclass(frozen=True)
class Choice:
    """The best trial of one system, beside the default and the spread of all."""

    system: str
    trial: Trial
    objective: float
    default_objective: float
    worst_objective: float
    trial_count: int
    document_count: int


def mean_result(of_seeds: Sequence[Mapping[str, float]], document_count: int) -> TrialResult:
    """The metrics of a trial, means over its seeds."""
    names = of_seeds[0]
    metrics = {name: fmean(metrics[name] for metrics in of_seeds) for name in names}
    return TrialResult(metrics=metrics, seed_count=len(of_seeds), document_count=document_count)


def choose_trials(tried: Sequence[Tried]) -> list[Choice]:
    """The trial of highest objective of every system, in the order of systems; of equal ones the first: the default, if it is."""
    choices = []
    for system in dict.fromkeys(each.system for each in tried):
        own = sorted((each for each in tried if each.system == system), key=lambda each: each.trial.number)
        best = max(own, key=lambda each: each.result.objective)
        choices.append(
            Choice(
                system=system,
                trial=best.trial,
                objective=best.result.objective,
                default_objective=own[0].result.objective,
                worst_objective=min(each.result.objective for each in own),
                trial_count=len(own),
                document_count=best.result.document_count,
            )
        )
    return choices


def list_trials(tried: Sequence[Tried], choices: Sequence[Choice]) -> pl.DataFrame:
    """Rows of `core_trials` without the dataset: each metric of each trial, and the objective."""
    chosen = {(choice.system, choice.trial.number) for choice in choices}
    return pl.DataFrame(
        [
            {
                "system": each.system,
                "trial": each.trial.number,
                "setting_json": each.trial.setting_json,
                "metric": metric,
                "value": value,
                "seed_count": each.result.seed_count,
                "is_chosen": (each.system, each.trial.number) in chosen,
            }
            for each in tried
            for metric, value in {**each.result.metrics, OBJECTIVE: each.result.objective}.items()
        ]
    )


def describe_choices(choices: Sequence[Choice], names: Mapping[str, Sequence[str]]) -> str:
    """What was chosen and how it compares, a line a system, for people to read.

    Args:
        choices: the best trial of each system.
        names: of each system, the settings that it uses.
    """
    return "\n".join(
        f"{choice.system}: trial {choice.trial.number} of {choice.trial_count}, "
        + ", ".join(f"{name} {value:g}" for name, value in choice.trial.of(names[choice.system]).items())
        + f"; objective {choice.objective:.4f} on {choice.document_count} development documents, "
        f"default {choice.default_objective:.4f}, worst {choice.worst_objective:.4f}"
        for choice in choices
    )
