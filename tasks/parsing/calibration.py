"""The fuzzy threshold that reaches a precision on edited names of the labels at hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.parsing.drafts import Link
from tasks.parsing.label_edits import DESCRIBING, EditMaker
from tasks.parsing.linking import FuzzyNames
from tasks.parsing.names import Catalogue
from tasks.parsing.spelling import LEAST_SIMILARITY

PER_KIND = 200
MOST_TRIED = 20 * PER_KIND
GRID = np.arange(round(100 * LEAST_SIMILARITY), 101) / 100
"""Thresholds that are tried; closeness below the first is no link at all."""


@dataclass(frozen=True)
class Calibration:
    """The least threshold that reached the precision on one half of the edited names, and what it gives on the other half.

    `is_reached`: if not, no threshold did, and the strictest is taken.
    """

    threshold: float
    is_reached: bool
    precision: float
    recall: float
    mention_count: int


def calibrate(catalogue: Catalogue, fuzzy: FuzzyNames, target_precision: float, seed: int) -> Calibration:
    """Edit names of the catalogue, link them by name and by spelling, and choose.

    The edits are those of `label_edits`: typing errors, other orders, left out and added words, and near misses that are no
    label's. Vectors link too few of them (1 in 1,000) to be calibrated.
    """
    label_ids, names = list(catalogue.names), list(catalogue.names.values())
    edited = [m for m in EditMaker(names, seed).mentions(PER_KIND, MOST_TRIED) if m.kind not in DESCRIBING]
    links = [catalogue.lookup(m.text) or catalogue.lookup_loosely(m.text) or fuzzy.link(m.text, LEAST_SIMILARITY) for m in edited]
    chosen = np.array([m.half == "calibration" for m in edited], dtype=bool)
    truths = [None if m.label_id is None else label_ids[m.label_id] for m in edited]
    precision, _ = _figures(truths, links, chosen)
    reached = np.flatnonzero(precision >= target_precision)
    place = int(reached[0]) if len(reached) else len(GRID) - 1
    precision, recall = _figures(truths, links, ~chosen)
    found = float(GRID[place]), bool(len(reached)), float(precision[place]), float(recall[place])
    return Calibration(*found, mention_count=int((~chosen).sum()))


def _figures(
    truths: Sequence[int | None], links: Sequence[Link | None], part: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall of a part of the mentions at every threshold of the grid; precision without a link is 1."""
    found = [link.label_id if link else None for link in links]
    closeness = [link.score if link and link.method == "fuzzy" else 1.0 for link in links]
    is_linked = np.array([label_id is not None for label_id in found], dtype=bool) & part
    is_right = is_linked & np.array([label_id == truth for label_id, truth in zip(found, truths, strict=True)], dtype=bool)
    passes = np.array(closeness, dtype=np.float64)[None, :] >= GRID[:, None]
    right, linked = (passes & is_right).sum(1), (passes & is_linked).sum(1)
    known = sum(truth is not None for truth, is_in in zip(truths, part, strict=True) if is_in)
    return np.where(linked, right / np.maximum(linked, 1), 1.0), right / max(known, 1)
