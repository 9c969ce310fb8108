"""All quantities of one document's trace: by relative position, and by phase for the claims."""

from dataclasses import dataclass

import numpy as np

from schemas.config import CharacterizeConfig
from tasks.labels.near_misses import NONE_NEAR, NearMisses, near_misses
from tasks.labels.search import LabelIndex, Vectors
from tasks.phases.sampling import DocumentTrace
from tasks.phases.trajectories import (
    Judgement,
    PerStep,
    Row,
    ShortlistEntry,
    bin_centre,
    confusion,
    confusion_floor,
    focus,
    gain_rows,
    mean_by_bin,
    position_bins,
    shortlist_rows,
)

Pair = tuple[float, float]


@dataclass(frozen=True)
class TraceMeasures:
    """What one trace gives: rows of `core_trajectories` without their keys, N(x), and two pairs of means; null: undefined.

    `focus_by_phase` is (shortlisting steps, refinement steps); `confusion_by_half` is (earlier, later refinement steps).
    """

    rows: list[Row]
    near: NearMisses
    focus_by_phase: Pair | None
    confusion_by_half: Pair | None


def measure_trace(
    trace: DocumentTrace, steps: Vectors, document: Vectors, index: LabelIndex, settings: CharacterizeConfig
) -> TraceMeasures:
    """Focus, Confusion with its floor, shortlist recall, inflation and refinement gain of one trace.

    Args:
        trace: the document's trace.
        steps: unit vectors of its steps, in order.
        document: unit vector of the document.
        index: the label index, for N(x).
        settings: bins and size of N(x).
    """
    bin_count = settings.positions
    bins = position_bins(trace.steps["position"].to_numpy(), bin_count)
    phases = trace.steps["phase"].to_list()
    focused = focus(steps, document)
    rows = mean_by_bin("focus", focused, bins, bin_count)
    near, halves = document_near_misses(trace, index, settings.near_miss_count), None
    if len(near.label_ids):
        vectors = index.vectors_of(near.label_ids)
        confused = confusion(steps, vectors)
        floor = confusion_floor(index.vectors_of(trace.targets), vectors)
        rows += mean_by_bin("confusion", confused, bins, bin_count)
        rows += [("confusion_floor", bin_centre(i, bin_count), floor, trace.steps.height) for i in range(bin_count)]
        halves = half_means(confused[[phase == "refine" for phase in phases]])
    targets = set(trace.targets)
    rows += shortlist_rows(shortlist_entries(trace, bin_count), targets, trace.kept_count, bin_count)
    listed = {label for label in trace.shortlist["label_id"].drop_nulls().to_list() if label not in trace.left_out}
    rows += gain_rows(listed, judgements(trace, bin_count), targets, bin_count)
    return TraceMeasures(rows, near, phase_means(focused, phases), halves)


def document_near_misses(trace: DocumentTrace, index: LabelIndex, count: int) -> NearMisses:
    """N(x) of the trace's document; nothing for a document without targets."""
    targets = np.array(trace.targets, dtype=np.int32)
    return near_misses(index, targets, trace.left_out, count) if len(targets) else NONE_NEAR


def phase_means(values: PerStep, phases: list[str]) -> Pair | None:
    """Mean over shortlisting steps and over refinement steps; null where one of the phases has no step."""
    early, late = (values[[phase == name for phase in phases]] for name in ("shortlist", "refine"))
    return (float(early.mean()), float(late.mean())) if len(early) and len(late) else None


def half_means(values: PerStep) -> Pair | None:
    """Mean of the earlier and of the later half, the middle one of an odd count left out; null below two values."""
    half = len(values) // 2
    return (float(values[:half].mean()), float(values[-half:].mean())) if half else None


def shortlist_entries(trace: DocumentTrace, bin_count: int) -> list[ShortlistEntry]:
    """The shortlist with the bin of the step that names each candidate; the first bin where none is known."""
    positions = dict(trace.steps.select("step", "position").iter_rows())
    pairs = trace.shortlist.select("label_id", "step").iter_rows()
    return [ShortlistEntry(label, min(int(positions.get(step, 0.0) * bin_count), bin_count - 1)) for label, step in pairs]


def judgements(trace: DocumentTrace, bin_count: int) -> list[Judgement]:
    """What each step that keeps or drops says of a known label: a drop argues against its label, a keep for it."""
    found = []
    columns = ("position", "verdict", "target_label_id", "near_miss_label_id")
    for position, verdict, target, near_miss in trace.steps.select(columns).iter_rows():
        label = {"keep": target, "drop": near_miss}.get(verdict)
        if label is not None:
            found.append(Judgement(label, verdict == "drop", min(int(position * bin_count), bin_count - 1)))
    return found
