"""Settings to try, by random search: drawn once, so that every method tries the same ones.

Source: Bergstra and Bengio 2012, Random search for hyper-parameter optimization: few settings matter, and which is not known.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import loguniform
from sklearn.model_selection import ParameterSampler

from schemas.errors import ConfigError

DIGITS = 4
"""Significant digits of what is drawn: a settings file then holds exactly what was trained with."""


@dataclass(frozen=True)
class Range:
    """A setting that is searched, log-uniform between its bounds."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Trial:
    """One choice of all searched settings; number 0 is the default."""

    number: int
    values: tuple[tuple[str, float], ...]

    @property
    def setting_json(self) -> str:
        """The settings as one line of JSON, by name."""
        return json.dumps(dict(sorted(self.values)))

    def of(self, names: Sequence[str]) -> dict[str, float]:
        """The settings of these names: those a method uses."""
        return {name: value for name, value in self.values if name in names}


def refuse_reported_seeds(tried: Sequence[int], reported: Sequence[int], section: str) -> None:
    """Refuse to choose settings with a seed that is reported: its number would be the best of several.

    Args:
        tried: seeds of the search.
        reported: seeds of the students that are reported.
        section: whose `seeds` these are, for the message.

    Raises:
        ConfigError: they share a seed.
    """
    shared = sorted({*tried} & {*reported})
    if shared:
        raise ConfigError(
            f"search.seeds = {list(tried)} holds {shared} of {section}.seeds = {list(reported)}: settings are chosen with seeds "
            "that are not reported; name others"
        )


def draw_trials(space: Sequence[Range], defaults: Mapping[str, float], count: int, seed: int) -> list[Trial]:
    """The default and `count - 1` draws; more of the same seed begin with the same ones.

    Args:
        space: what is searched.
        defaults: value of each of its settings now.
        count: trials in all.
        seed: of the draws.
    """
    drawn = ParameterSampler({r.name: loguniform(r.low, r.high) for r in space}, n_iter=count - 1, random_state=seed)
    first = Trial(0, tuple((r.name, defaults[r.name]) for r in space))
    others = [tuple((r.name, float(f"{values[r.name]:.{DIGITS}g}")) for r in space) for values in (drawn if count > 1 else ())]
    return [first, *(Trial(number, values) for number, values in enumerate(others, 1))]
