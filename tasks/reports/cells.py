"""Numbers as readers see them, and the plain table every section and chart falls back to."""

import math
from dataclasses import dataclass

UNKNOWN = "unknown"
NO_VALUE = "no value"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """One cell: the text that counts, a smaller line below it, and whether it is the best of its column."""

    text: str
    detail: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class Grid:
    """A table for the page; the first cell of a row names it; `left` lists the columns that hold words."""

    slug: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: tuple[int, ...] = ()


def finite(value: float | None) -> float | None:
    """The number, or None for null, NaN and infinity."""
    return value if value is not None and math.isfinite(value) else None


def decimal_text(value: float | None, digits: int) -> str:
    """A number with a true minus sign and thousands separators; `no value` where there is none."""
    number = finite(value)
    if number is None:
        return NO_VALUE
    text = f"{abs(number):,.{digits}f}"
    is_zero = float(text.replace(",", "")) == 0
    return MINUS + text if number < 0 and not is_zero else text


def percent_text(frac: float | None) -> str:
    """A share as percent with one decimal, without the sign: 0.123 is `12.3`."""
    return decimal_text(None if frac is None else 100 * frac, 1)


def signed_text(value: float | None, digits: int) -> str:
    """A number with its sign, plus included; zero after rounding has none."""
    text = decimal_text(value, digits)
    has_plus = text != NO_VALUE and not text.startswith(MINUS) and float(text.replace(",", "")) > 0
    return f"+{text}" if has_plus else text


def points_text(difference: float | None) -> str:
    """A difference of shares in percentage points, signed: 0.008 is `+0.8`."""
    return signed_text(None if difference is None else 100 * difference, 1)


def range_text(low: float | None, high: float | None, digits: int) -> str:
    """An interval: `0.11 to 0.14`; empty where an end is missing."""
    is_whole = finite(low) is not None and finite(high) is not None
    return f"{decimal_text(low, digits)} to {decimal_text(high, digits)}" if is_whole else ""


def percent_range_text(low: float | None, high: float | None) -> str:
    """An interval of shares in percent: `11.0 to 13.6`; empty where an end is missing."""
    return "" if low is None or high is None else range_text(100 * low, 100 * high, 1)


def p_text(p_value: float | None) -> str:
    """A p-value with three decimals: `p = 0.012`, `p < 0.001`."""
    number = finite(p_value)
    if number is None:
        return ""
    return "p < 0.001" if number < 0.001 else f"p = {number:.3f}"


def count_text(count: int | None) -> str:
    """A count with thousands separators; `unknown` for null."""
    return UNKNOWN if count is None else f"{count:,}"


def seconds_text(seconds: float | None) -> str:
    """A duration: in seconds below two minutes, in minutes and seconds above."""
    number = finite(seconds)
    if number is None:
        return UNKNOWN
    minutes, rest = divmod(round(number), 60)
    return f"{number:.1f} s" if number < 120 else f"{minutes:,} min {rest:02} s"


def money_text(usd: float | None) -> str:
    """US dollars; `unknown` for null, never 0 for unknown."""
    number = finite(usd)
    if number is None:
        return UNKNOWN
    return f"${number:,.4f}" if 0 < number < 0.1 else f"${number:,.2f}"


def clip_text(text: str, limit: int) -> str:
    """The text, or its first `limit` characters and how many follow."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit:,} more characters)"
