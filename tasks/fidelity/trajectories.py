"""Focus and Confusion along what students wrote, and their distance to the teacher decoder's own traces."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from tasks.intervals.resampling import Values
from tasks.open_models.own_traces import TRACK
from tasks.open_models.spoken import Meaning, trajectory_rows
from tasks.sequences.compact import WrittenTrace, spoken_steps

TEACHER_DECODER = "teacher-decoder"
"""The teacher decoder's own traces of the same documents, as a system of `core_trajectories`."""

PLACE = ("document_id", "quantity", "position")


def student_track(
    written: Mapping[str, WrittenTrace], names: Mapping[int, str], meaning: Meaning, bin_count: int
) -> pl.DataFrame:
    """Focus and Confusion by relative position of what one student wrote; rows of `TRACK`. No step, no row.

    Args:
        written: by document id, documents of `meaning`.
        names: label names.
        meaning: vectors.
        bin_count: bins of relative position.
    """
    said = {document: [step.text for step in spoken_steps(trace, names)] for document, trace in written.items()}
    meaning.learn(step for steps in said.values() for step in steps)
    schema = pl.Schema(TRACK)
    frames = [trajectory_rows(document, steps, meaning, bin_count).cast(schema) for document, steps in said.items() if steps]
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def distances(track: pl.DataFrame, teacher: pl.DataFrame, quantity: str, document_ids: Sequence[str]) -> Values:
    """Mean over positions of |student - teacher| of each document; NaN where they have no position in common.

    Args:
        track: rows of `TRACK` of the student.
        teacher: those of the teacher decoder.
        quantity: focus or confusion.
        document_ids: the documents, in the order of the result.
    """
    both = track.filter(quantity=quantity).join(teacher, on=PLACE, suffix="_teacher")
    apart = (pl.col("value") - pl.col("value_teacher")).abs().mean()
    found = dict(both.group_by("document_id").agg(apart).iter_rows())
    return np.array([found.get(document, np.nan) for document in document_ids], dtype=np.float64)


def mean_tracks(tracks: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One system's rows of `TRACK`: at each place the mean over the seeds that have a step there; steps are added up."""
    every = pl.concat(tracks)
    means = every.group_by(PLACE, maintain_order=True).agg(pl.col("value").mean(), pl.col("step_count").sum())
    return means.select(list(TRACK)).sort(PLACE)
