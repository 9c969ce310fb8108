"""Traces that the model writes itself: Focus and Confusion along them."""

from collections.abc import Sequence

import polars as pl

from schemas.config import HeadsConfig
from schemas.tables import CORE_TRAJECTORIES
from tasks.open_models.models import LoadedModel
from tasks.open_models.spoken import Meaning, SpokenForm, trajectory_rows
from tasks.sequences.generation import continue_greedily
from tasks.sequences.tokens import TokenSequence

TRACK = {name: CORE_TRAJECTORIES.schema[name] for name in ("document_id", "quantity", "position", "value", "step_count")}
"""Columns of `core_trajectories` without dataset and system."""


def own_trajectories(
    loaded: LoadedModel, sequences: Sequence[TokenSequence], form: SpokenForm, meaning: Meaning, settings: HeadsConfig
) -> pl.DataFrame:
    """Focus and Confusion by relative position of what the model writes greedily after each document; rows of `TRACK`.

    A document of which it writes no step has no row.

    Args:
        loaded: the model.
        sequences: documents with a vector in `meaning`; their own traces are not read.
        form: how what is written is read.
        meaning: vectors.
        settings: documents a batch, bins of position.
    """
    ends = [one.response_start + form.mark_count for one in sequences]
    written = continue_greedily(
        loaded.model,
        [one.token_ids[:end].tolist() for one, end in zip(sequences, ends, strict=True)],
        loaded.pad_id,
        next(iter(form.stops["whole"])),
        form.limits["whole"],
        settings.batch_size,
    )
    steps = [form.read("whole", ids) for ids in written]
    meaning.learn(step for said in steps for step in said)
    frames = [
        trajectory_rows(one.document_id, said, meaning, settings.positions)
        for one, said in zip(sequences, steps, strict=True)
        if said
    ]
    schema = pl.Schema(TRACK)
    return pl.concat([pl.DataFrame(schema=schema), *(frame.cast(schema) for frame in frames)])
