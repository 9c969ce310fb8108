"""What the top refinement heads do along the refinement phase, on documents that did not choose them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from schemas.fields import HEAD_QUANTITIES
from tasks.heads.head_sets import Head
from tasks.open_models.scores import HeadRows, PerRow
from tasks.sequences.tokens import TokenSequence

Track = Float[np.ndarray, " row"]


@dataclass(frozen=True)
class Dynamics:
    """Quantities of the followed heads at each row of Q_refine of one document, means over the heads; NaN where undefined."""

    document_id: str
    positions: tuple[float, ...]
    tracks: dict[str, Track]
    """By quantity of `HEAD_QUANTITIES`."""


def top_heads(scores: pl.DataFrame, score_name: str, count: int) -> list[Head]:
    """The heads of highest score, best first; of equal ones the first by layer and head; none without scores.

    Args:
        scores: `core_head_scores` of one model.
        score_name: its column.
        count: how many.
    """
    known = scores.filter(pl.col(score_name).is_not_null()).sort([score_name, "layer", "head"], descending=[True, False, False])
    return list(known.head(count).select("layer", "head").iter_rows())


def follow_heads(rows: HeadRows, sequences: Sequence[TokenSequence], heads: Sequence[Head]) -> list[Dynamics]:
    """The followed heads along each document that has refinement rows.

    Args:
        rows: of `measure_rows`, of these sequences.
        sequences: the documents.
        heads: at least one.
    """
    layers, numbers = np.array(heads).T
    tracks = [
        dict(zip(HEAD_QUANTITIES, values, strict=True))
        for values in zip(*(_over_heads(part, layers, numbers) for part in _parts(rows)), strict=True)
    ]
    return [
        Dynamics(one.document_id, one.refine_positions, {name: track[: len(one.refine_rows)] for name, track in of_one.items()})
        for one, of_one in zip(sequences, tracks, strict=True)
        if len(one.refine_rows)
    ]


def _parts(rows: HeadRows) -> tuple[PerRow, PerRow, PerRow]:
    """In the order of `HEAD_QUANTITIES`."""
    return rows.kept_attention, rows.dropped_attention, rows.helpfulness


def _over_heads(
    values: PerRow, layers: Float[np.ndarray, " head"], heads: Float[np.ndarray, " head"]
) -> Float[np.ndarray, "document row"]:
    return np.asarray(values[:, layers, heads].mean(axis=1))


Row = tuple[str, str, float, float, int]
"""document_id, quantity, position, value, step_count: `core_trajectories` without dataset and system."""


def dynamics_rows(found: Sequence[Dynamics], bin_count: int) -> list[Row]:
    """Mean of each quantity by bin of relative position in the trace; bins without a defined row are left out.

    Args:
        found: documents; their step count is that of their refinement rows.
        bin_count: bins of equal width; a row's position is its bin's centre, 0 to 1.
    """
    rows: list[Row] = []
    for one in found:
        bins = np.minimum((np.array(one.positions) * bin_count).astype(np.int64), bin_count - 1)
        for name, track in one.tracks.items():
            is_known = np.isfinite(track)
            for place in np.unique(bins[is_known]).tolist():
                value = float(track[is_known & (bins == place)].mean())
                rows.append((one.document_id, name, (place + 0.5) / bin_count, value, len(track)))
    return rows


def late_minus_early(found: Sequence[Dynamics]) -> dict[str, Float[np.ndarray, " document"]]:
    """By quantity, mean of the later minus mean of the earlier half of each document's defined rows; it needs two of them.

    Of an odd number of rows the middle one is left out.
    """
    return {name: np.array(list(_differences(found, name)), dtype=np.float64) for name in HEAD_QUANTITIES}


def _differences(found: Sequence[Dynamics], name: str) -> list[float]:
    differences = []
    for one in found:
        order = np.argsort(one.positions, kind="stable")
        track = one.tracks[name][order]
        track = track[np.isfinite(track)]
        half = len(track) // 2
        if half:
            differences.append(float(track[-half:].mean() - track[:half].mean()))
    return differences
