"""All quantities of one document's trace by relative position."""

import numpy as np

from schemas.config import CharacterizeConfig
from tasks.labels.search import LabelIndex, Vectors
from tasks.phases.near_misses import near_misses
from tasks.phases.sampling import DocumentTrace
from tasks.phases.trajectories import (
    Row,
    ShortlistEntry,
    bin_centre,
    confusion,
    confusion_floor,
    focus,
    mean_by_bin,
    position_bins,
    shortlist_rows,
)


def trace_rows(
    trace: DocumentTrace, steps: Vectors, document: Vectors, index: LabelIndex, settings: CharacterizeConfig
) -> list[Row]:
    """Rows of `core_trajectories` of one trace, without their keys.

    Args:
        trace: the document's trace.
        steps: unit vectors of its steps, in order.
        document: unit vector of the document.
        index: the label index, for N(x).
        settings: bins and size of N(x).
    """
    bin_count = settings.positions
    bins = position_bins(trace.steps["position"].to_numpy(), bin_count)
    rows = mean_by_bin("focus", focus(steps, document), bins, bin_count)
    if trace.targets:
        targets = np.array(trace.targets, dtype=np.int32)
        near_ids = near_misses(index, targets, trace.left_out, settings.near_miss_count)
        if len(near_ids):
            near = index.vectors_of(near_ids)
            rows += mean_by_bin("confusion", confusion(steps, near), bins, bin_count)
            floor = confusion_floor(index.vectors_of(targets), near)
            rows += [("confusion_floor", bin_centre(i, bin_count), floor, trace.steps.height) for i in range(bin_count)]
    return rows + shortlist_rows(shortlist_entries(trace, bin_count), set(trace.targets), trace.kept_count, bin_count)


def shortlist_entries(trace: DocumentTrace, bin_count: int) -> list[ShortlistEntry]:
    """The shortlist with the bin of the step that names each candidate; the first bin where none is known."""
    positions = dict(trace.steps.select("step", "position").iter_rows())
    pairs = trace.shortlist.select("label_id", "step").iter_rows()
    return [ShortlistEntry(label, min(int(positions.get(step, 0.0) * bin_count), bin_count - 1)) for label, step in pairs]
