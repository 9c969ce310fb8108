"""Axes of the charts: from values to coordinates, with round ticks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.reports.cells import decimal_text, finite


@dataclass(frozen=True)
class Scale:
    """A straight map from values to coordinates."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The coordinate of a value, to a tenth of a unit."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


def tick_values(low: float, high: float, count: int = 4) -> tuple[float, ...]:
    """About `count` round numbers from `low` to `high`; at least one step apart even when the ends are equal."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(step * n, 10) for n in range(first, last + 1))


def axis_ticks(scale: Scale, count: int = 4) -> tuple[Tick, ...]:
    """Round ticks of a scale, all with as many decimals as their step needs."""
    values = tick_values(scale.low, scale.high, count)
    step = values[1] - values[0] if len(values) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return tuple(Tick(scale.at(v), decimal_text(v, digits)) for v in values)


def value_range(values: Iterable[float | None], has_zero: bool = False) -> tuple[float, float]:
    """Least and greatest finite value, widened by a twentieth; 0 to 1 where there is none."""
    known = [v for v in (finite(v) for v in values) if v is not None] + ([0.0] if has_zero else [])
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    pad = (high - low) / 20 or abs(high) / 20 or 0.5
    return low - pad, high + pad


def place_at(scale: Scale, value: float | None) -> float | None:
    """The coordinate of a value; None where the value is missing or not finite."""
    number = finite(value)
    return None if number is None else scale.at(number)
