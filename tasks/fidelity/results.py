"""All tables of the stage, from what was found of every student."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from schemas.fields import FIDELITY_METRICS, SAMPLED
from schemas.student_settings import FidelityConfig
from tasks.fidelity.measures import Measure, fidelity_rows, mean_of, simulability, weighted_mean
from tasks.fidelity.student_rows import in_order, prediction_rows, simulated_of
from tasks.fidelity.trajectories import TEACHER_DECODER, distances, mean_tracks


@dataclass(frozen=True)
class Found:
    """What one student's work came to; what needs a trace is missing of students that answer without one."""

    system: str
    seed: int
    written: pl.DataFrame
    drawn: pl.DataFrame | None = None
    """Rankings over traces that were drawn."""
    simulated: pl.DataFrame | None = None
    losses: pl.DataFrame | None = None
    track: pl.DataFrame | None = None


@dataclass(frozen=True)
class Scope:
    """Test documents in the order drawn, held-out train documents, and the settings."""

    document_ids: tuple[str, ...]
    dev_document_ids: tuple[str, ...]
    settings: FidelityConfig


def result_rows(found: Sequence[Found], teacher: pl.DataFrame, scope: Scope) -> dict[str, pl.DataFrame]:
    """All tables of the stage, without run and dataset.

    Args:
        found: of every student, all of the same documents.
        teacher: the track of the teacher decoder.
        scope: the documents.
    """
    settings = scope.settings
    tracks = {TEACHER_DECODER: [teacher]}
    for one in found:
        if one.track is not None:
            tracks.setdefault(one.system, []).append(one.track)
    drawn = [
        named(replace(one, system=one.system + SAMPLED), prediction_rows(one.drawn)) for one in found if one.drawn is not None
    ]
    measures = measures_of(found, teacher, scope)
    rows = fidelity_rows(measures, {"token_loss_nats": "train"}, settings.bootstrap_count, settings.seed)
    return {
        "core_student_traces": pl.concat([named(one, one.written) for one in found]),
        "core_predictions": pl.concat([named(one, prediction_rows(one.written)) for one in found] + drawn),
        "core_trajectories": pl.concat(
            [mean_tracks(parts).with_columns(system=pl.lit(system)) for system, parts in tracks.items()]
        ),
        "out_metrics": rows.metrics,
        "out_contrasts": rows.contrasts,
    }


def named(found: Found, rows: pl.DataFrame) -> pl.DataFrame:
    """With the columns that name a student."""
    return rows.with_columns(system=pl.lit(found.system), seed=pl.lit(found.seed, pl.Int32))


Measures = dict[str, dict[str, dict[int, Measure]]]
"""By metric, system and seed."""


def measures_of(found: Sequence[Found], teacher: pl.DataFrame, scope: Scope) -> Measures:
    """What is measured of every student."""
    measures: Measures = {metric: {} for metric in FIDELITY_METRICS}
    for one in found:
        for metric, measure in measures_of_one(one, teacher, scope).items():
            measures[metric].setdefault(one.system, {})[one.seed] = measure
    return measures


def measures_of_one(found: Found, teacher: pl.DataFrame, scope: Scope) -> dict[str, Measure]:
    """One student's measures by metric."""
    measures = {"format_frac": mean_of(found.written["is_whole"].cast(pl.Float64).to_numpy())}
    if found.simulated is not None:
        measures |= simulability(simulated_of(found.simulated))
    if found.losses is not None:
        nats, counts = (in_order(found.losses, column, scope.dev_document_ids) for column in ("loss_nats", "token_count"))
        measures["token_loss_nats"] = weighted_mean(nats, counts)
    if found.track is not None:
        followed = scope.document_ids[: scope.settings.trajectory_documents]
        for quantity in ("focus", "confusion"):
            measures[f"{quantity}_distance"] = mean_of(distances(found.track, teacher, quantity, followed))
    return measures
