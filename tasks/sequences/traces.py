"""Whole traces as they stand in the tables, one at a time: what both routes to annotated text begin from."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.selections import of_whole_traces, whole_traces
from tasks.labels.search import LabelIndex

BLOCK = 1024
"""Traces whose rows are held at once."""

Nearest = Callable[[int, Sequence[int]], int]
"""(target, candidates) -> the candidate label nearest to the target."""


@dataclass(frozen=True)
class Place:
    """A label as a trace names it: the mention as written, the label it links to, and where it stands in `raw_traces`."""

    label_id: int | None
    mention_text: str
    source: str
    start: int
    end: int


@dataclass(frozen=True)
class Step:
    """One row of `core_steps`."""

    step: int
    position: float
    phase: str
    verdict: str
    text: str
    target_label_id: int | None
    near_miss_label_id: int | None
    source: str
    start: int
    end: int

    @property
    def judged_label_id(self) -> int | None:
        """The label that the step decides on: what a keep step argues for, what a drop step argues against."""
        return self.target_label_id if self.verdict == "keep" else self.near_miss_label_id


@dataclass(frozen=True)
class Trace:
    """A whole trace: shortlist and answers by rank, steps in order."""

    trace_id: str
    document_id: str
    split: str
    shortlist: tuple[Place, ...]
    steps: tuple[Step, ...]
    answers: tuple[Place, ...]
    answer_format: str | None = None
    """How the answer was written (`core_traces.answer_format`)."""

    @property
    def candidate_ids(self) -> tuple[int, ...]:
        """Labels of the shortlist, each once, by rank."""
        return tuple(dict.fromkeys(place.label_id for place in self.shortlist if place.label_id is not None))

    @property
    def answer_ids(self) -> tuple[int, ...]:
        """Labels of the answer, each once, by rank."""
        return tuple(dict.fromkeys(place.label_id for place in self.answers if place.label_id is not None))

    @property
    def dropped_ids(self) -> tuple[int, ...]:
        """Labels of the shortlist that are not in the answer, by rank."""
        return tuple(label for label in self.candidate_ids if label not in set(self.answer_ids))

    def near_miss_of(self, step: Step, nearest: Nearest) -> int | None:
        """The dropped candidate that a keep step is set against: the one it names, else the nearest to its target."""
        dropped = [label for label in self.dropped_ids if label != step.target_label_id]
        if step.near_miss_label_id in dropped:
            return step.near_miss_label_id
        return nearest(step.target_label_id, dropped) if dropped and step.target_label_id is not None else None


@dataclass(frozen=True)
class TraceTables:
    """`core_traces`, `core_shortlist`, `core_steps` and `core_answers`, any rows of them."""

    traces: pl.DataFrame
    shortlist: pl.DataFrame
    steps: pl.DataFrame
    answers: pl.DataFrame


_PLACE = ("trace_id", "label_id", "mention_text", "span_source", "char_start", "char_end")
_STEP = (
    "trace_id", "step", "position", "phase", "verdict", "step_text", "target_label_id", "near_miss_label_id", "span_source",
    "char_start", "char_end",
)  # fmt: skip


def read_traces(tables: TraceTables) -> Iterator[Trace]:
    """The whole traces of these tables in the order of `core_traces`, a block of their rows in memory at a time."""
    whole = whole_traces(tables.traces).select("trace_id", "document_id", "split", "answer_format")
    parts = [of_whole_traces(part, tables.traces) for part in (tables.shortlist, tables.steps, tables.answers)]
    for block in whole.iter_slices(BLOCK):
        shortlist, steps, answers = (part.join(block, on="trace_id", how="semi") for part in parts)
        named, said, final = (
            _by_trace(shortlist.sort("trace_id", "rank"), _PLACE),
            _by_trace(steps.sort("trace_id", "step"), _STEP),
            _by_trace(answers.sort("trace_id", "rank"), _PLACE),
        )
        for trace_id, document_id, split, answer_format in block.iter_rows():
            yield Trace(
                trace_id,
                document_id,
                split,
                tuple(Place(*row) for row in named[trace_id]),
                tuple(Step(*row) for row in said[trace_id]),
                tuple(Place(*row) for row in final[trace_id]),
                answer_format,
            )


def _by_trace(frame: pl.DataFrame, columns: Sequence[str]) -> dict[str, list[tuple[Any, ...]]]:  # values of many types
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for trace_id, *values in frame.select(columns).iter_rows():
        rows[trace_id].append(tuple(values))
    return rows


def nearest_by(index: LabelIndex) -> Nearest:
    """Nearest by the index's vectors; of equally near ones the first."""

    def nearest(target: int, candidates: Sequence[int]) -> int:
        vectors: NDArray[np.float32] = index.vectors_of([target, *candidates])
        return candidates[int(np.argmax(vectors[1:] @ vectors[0]))]

    return nearest
