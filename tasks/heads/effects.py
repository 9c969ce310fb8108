"""Values under patching to effects: means over documents with intervals, and the share of the way between the two runs.

Intervals resample documents, the same ones for every column, so differences and ratios are paired. The share is a ratio of means,
(patched - corrupted) / (clean - corrupted) in denoising and (clean - patched) / (clean - corrupted) in noising; there is none
where the interval of clean minus corrupted holds 0: then there is no way to go.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from schemas.config import HeadsConfig
from tasks.heads.resampling import draw_weights, percentile_interval

Cells = Float[np.ndarray, "document column"]
Drawn = Float[np.ndarray, "resample column"]
PerColumn = Float[np.ndarray, " column"]

KEYS = ("direction", "head_set", "head_count", "draw")
"""What tells the columns of one phase and quantity apart."""


@dataclass(frozen=True)
class PatchTable:
    """Values of one quantity in one phase: documents by columns of `KEYS`; NaN where a document has none."""

    phase: str
    quantity: str
    columns: pl.DataFrame
    value: Cells
    clean: Cells
    corrupted: Cells


def patch_tables(values: pl.DataFrame) -> Iterator[PatchTable]:
    """Rows of `PATCH_VALUES` as one table for each phase and quantity."""
    for (phase, quantity), part in values.sort("phase", "outcome_quantity").group_by(
        "phase", "outcome_quantity", maintain_order=True
    ):
        columns = part.select(KEYS).unique().sort(KEYS)
        documents = part.select("document_id").unique().sort("document_id")
        places = part.join(columns.with_row_index("column"), on=KEYS).join(documents.with_row_index("row"), on="document_id")
        at = (places["row"].to_numpy(), places["column"].to_numpy())
        cells = []
        for name in ("value", "clean_value", "corrupted_value"):
            filled = np.full((documents.height, columns.height), np.nan)
            filled[at] = places[name].to_numpy()
            cells.append(filled)
        yield PatchTable(str(phase), str(quantity), columns, *cells)


@dataclass(frozen=True)
class Means:
    """Means over documents by column, as observed and resampled."""

    observed: PerColumn
    drawn: Drawn

    def interval(self) -> tuple[PerColumn, PerColumn]:
        """Ends of the 95% interval of each column."""
        return percentile_interval(self.drawn, self.observed)

    def __sub__(self, other: "Means") -> "Means":
        return Means(self.observed - other.observed, self.drawn - other.drawn)

    def __truediv__(self, other: "Means") -> "Means":
        return Means(ratio(self.observed, other.observed), ratio(self.drawn, other.drawn))


def ratio(above: Drawn | PerColumn, below: Drawn | PerColumn) -> Drawn | PerColumn:
    """Quotients; NaN where the divisor is 0."""
    return np.asarray(above / np.where(below == 0, np.nan, below))


def resampled_means(cells: Cells, weights: Float[np.ndarray, "resample document"]) -> Means:
    """Means over the documents that have a value; a resample that drew none of them counts as observed."""
    known = np.isfinite(cells)
    filled = np.where(known, cells, 0.0)
    observed = filled.sum(axis=0) / known.sum(axis=0)
    counts = weights @ known.astype(np.float64)
    drawn = ratio(weights @ filled, counts)
    return Means(observed, np.where(counts > 0, drawn, observed))


def effect_rows(values: pl.DataFrame, settings: HeadsConfig) -> pl.DataFrame:
    """Rows of `core_patch_effects` without dataset and model.

    Args:
        values: rows of `PATCH_VALUES` of all blocks.
        settings: what was patched, resamples, seed.
    """
    constant = {"corruption": settings.corruption, "patched_part": settings.patched_part}
    frames = [_effects(table, settings) for table in patch_tables(values)]
    return pl.concat(frames).with_columns([pl.lit(value).alias(name) for name, value in constant.items()])


def _effects(table: PatchTable, settings: HeadsConfig) -> pl.DataFrame:
    weights = draw_weights(len(table.value), settings.bootstrap_count, settings.seed)
    value, clean, corrupted = (resampled_means(cells, weights) for cells in (table.value, table.clean, table.corrupted))
    distance = clean - corrupted
    low, high = distance.interval()
    is_moved = (low > 0) | (high < 0)
    is_denoised = (table.columns["direction"] == "denoise").to_numpy()
    towards, away = (value - corrupted) / distance, (clean - value) / distance
    share = Means(np.where(is_denoised, towards.observed, away.observed), np.where(is_denoised, towards.drawn, away.drawn))
    found = {"value": value.observed, "clean_value": clean.observed, "corrupted_value": corrupted.observed}
    found |= dict(zip(("ci_low", "ci_high"), value.interval(), strict=True))
    shares = dict(zip(("effect_frac", "effect_ci_low", "effect_ci_high"), (share.observed, *share.interval()), strict=True))
    found |= {name: np.where(is_moved & np.isfinite(column), column, np.nan) for name, column in shares.items()}
    return table.columns.with_columns(
        *(pl.Series(name, column).fill_nan(None) for name, column in found.items()),
        phase=pl.lit(table.phase),
        outcome_quantity=pl.lit(table.quantity),
        document_count=pl.Series(np.isfinite(table.value).sum(axis=0)),
    )
