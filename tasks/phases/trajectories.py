"""Focus, Confusion and the shortlist along a trace: pure functions over arrays, then rows of `core_trajectories`."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from schemas.errors import EmptyTargetError

Steps = Float32[np.ndarray, "step d_model"]
Vector = Float32[np.ndarray, " d_model"]
Labels = Float32[np.ndarray, "label d_model"]
PerStep = Float32[np.ndarray, " step"]
Bins = Int[np.ndarray, " step"]

Row = tuple[str, float, float, int]
"""Quantity, position, value, steps the value is a mean over."""


def focus(steps: Steps, document: Vector) -> PerStep:
    """cos(e(r_q), e(x)) of each step, -1 to 1; inputs are unit vectors.

    Source: Focus of Saha Roy et al., arXiv 2606.06840; its mean over shortlisting steps is their scalar.
    """
    return np.asarray(steps @ document, dtype=np.float32)


def confusion(steps: Steps, near: Labels) -> PerStep:
    """Mean over N(x) of cos(e(r_q), e(label)) for each step, -1 to 1; inputs are unit vectors.

    Raises:
        EmptyTargetError: N(x) is empty.

    Source: Confusion of Saha Roy et al., arXiv 2606.06840; its mean over refinement steps is their scalar.
    """
    if not len(near):
        raise EmptyTargetError("Confusion needs at least one near miss")
    return np.asarray((steps @ near.T).mean(axis=1), dtype=np.float32)


def confusion_floor(targets: Labels, near: Labels) -> float:
    """Mean cosine of targets and near misses: what Confusion is if a step names nothing but targets."""
    if not len(targets) or not len(near):
        raise EmptyTargetError("the floor of Confusion needs targets and near misses")
    return float((targets @ near.T).mean())


def position_bins(positions: PerStep, bin_count: int) -> Bins:
    """Bin 0 .. bin_count-1 of each relative position 0 .. 1."""
    return np.minimum((np.asarray(positions) * bin_count).astype(np.int64), bin_count - 1)


def bin_centre(bin_index: int, bin_count: int) -> float:
    """Relative position in the middle of a bin."""
    return (bin_index + 0.5) / bin_count


def mean_by_bin(quantity: str, values: PerStep, bins: Bins, bin_count: int) -> list[Row]:
    """One row a bin that holds a step: the mean of its steps."""
    rows = []
    for index in range(bin_count):
        inside = values[bins == index]
        if len(inside):
            rows.append((quantity, bin_centre(index, bin_count), float(inside.mean()), len(inside)))
    return rows


@dataclass(frozen=True)
class ShortlistEntry:
    """A label of the shortlist and the bin of the step that first names it."""

    label_id: int | None
    bin_index: int


def shortlist_rows(entries: Iterable[ShortlistEntry], targets: set[int], kept_count: int, bin_count: int) -> list[Row]:
    """Shortlist recall (share of the targets named so far) and inflation (labels named so far per label kept).

    Args:
        entries: the candidates of one trace.
        targets: the document's targets; recall is left out if there are none.
        kept_count: labels in the final answer; inflation is left out if it is 0.
        bin_count: bins of relative position.
    """
    found = list(entries)
    rows: list[Row] = []
    for index in range(bin_count):
        named = [entry for entry in found if entry.bin_index <= index]
        position = bin_centre(index, bin_count)
        if targets:
            hits = targets & {entry.label_id for entry in named if entry.label_id is not None}
            rows.append(("shortlist_recall", position, len(hits) / len(targets), len(named)))
        if kept_count:
            rows.append(("inflation", position, len(named) / kept_count, len(named)))
    return rows


@dataclass(frozen=True)
class Judgement:
    """A step's verdict on one label, and the step's bin."""

    label_id: int
    is_dropped: bool
    bin_index: int


def gain_rows(shortlisted: set[int], judged: Sequence[Judgement], targets: set[int], bin_count: int) -> list[Row]:
    """Refinement gain: precision of what is still kept minus precision of the shortlist, -1 to 1.

    The share of targets among the shortlisted labels that no step up to this position dropped (a later verdict of keep takes a
    label back), minus the share of targets among all shortlisted labels. It starts at 0 and grows as refinement drops labels
    that are no targets. A position where nothing is left has no row; nor has a trace without targets or shortlist.

    Args:
        shortlisted: labels of the shortlist.
        judged: verdicts on labels, in the order of the steps.
        targets: the document's targets.
        bin_count: bins of relative position.

    Source: ours; the refinement gain of the paper is not defined in public.
    """
    rows: list[Row] = []
    for index in range(bin_count if targets and shortlisted else 0):
        said = {verdict.label_id: verdict.is_dropped for verdict in judged if verdict.bin_index <= index}
        kept = {label for label in shortlisted if not said.get(label, False)}
        if kept:
            gain = len(kept & targets) / len(kept) - len(shortlisted & targets) / len(shortlisted)
            rows.append(("refinement_gain", bin_centre(index, bin_count), gain, len(kept)))
    return rows


def readable_step(text: str) -> str:
    """The step without list marks and tags, and of a JSON object only its texts: what is embedded."""
    if text.startswith("{"):
        try:
            said = [value for value in json.loads(text).values() if isinstance(value, str)]
        except ValueError:
            said = []
        if said:
            return " ".join(" ".join(said).split())
    return " ".join(_SYNTAX.sub(" ", text).split()) or text


_SYNTAX = re.compile(r'[{}\[\]"]|\\n|^\s*(?:[-*•]|\d+[.)])\s+|</?[a-z_]+>')
