"""The leaderboard as text: one line a system, value and 95% interval in percent."""

from collections.abc import Iterable

import polars as pl

COLUMNS = (("P", 1), ("P", 5), ("R", 10), ("R", 100), ("nDCG", 5), ("PSP", 1), ("PSP", 5))
"""Metrics and cutoffs that are shown."""

ORDER = (
    "teacher", "lexical", "embedding", "knn-gold",
    "answers", "mechanistic-no-p2", "mechanistic-no-p1", "mechanistic", "mechanistic-random-anchors",
    "supervised",
)  # fmt: skip


def leaderboard_query(dataset: str) -> str:
    """SQL for the rows of one dataset; the name was checked to hold no quote."""
    return f"select system, metric, k, value, ci_low, ci_high, seed_count from leaderboard where dataset = '{dataset}'"


def leaderboard_table(rows: pl.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and lines; a value that is missing is a dash."""
    cells = {(r["system"], r["metric"], r["k"]): r for r in rows.to_dicts()}
    seeds = {r["system"]: r["seed_count"] for r in rows.to_dicts()}
    header = ["system", "seeds", *(f"{metric}@{k}" for metric, k in COLUMNS)]
    lines = [
        [name, str(seeds[name]), *(_cell(cells.get((name, metric, k))) for metric, k in COLUMNS)] for name in _ordered(seeds)
    ]
    return header, lines


def _ordered(systems: Iterable[str]) -> list[str]:
    return sorted(systems, key=lambda s: (ORDER.index(s) if s in ORDER else len(ORDER), s))


def _cell(row: dict[str, float] | None) -> str:
    if row is None:
        return "-"
    return f"{100 * row['value']:.1f} [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
