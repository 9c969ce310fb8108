"""One trace as a text a decoder reads, with the places that the analyses of heads need, in characters of that text."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Span:
    """Characters `start` to `end` (one past the last) of a text."""

    start: int
    end: int


@dataclass(frozen=True)
class Candidate:
    """A label of the trace's shortlist, where it is named first, and whether the trace keeps it in its answer."""

    label_id: int
    span: Span
    is_kept: bool


@dataclass(frozen=True)
class Refinement:
    """A refinement step that argues for a label: where the step names it, and the dropped label it is set against."""

    target_label_id: int
    near_miss_label_id: int
    target_span: Span
    step: int
    """Place of the step in its trace, from 0 (`core_steps.step`)."""
    position: float
    """Relative position of the step in the trace, 0 to 1."""


@dataclass(frozen=True)
class Unlocated:
    """What a trace names and its text does not hold, counted: nothing of it can be measured."""

    anchor_count: int = 0
    candidate_count: int = 0
    refinement_count: int = 0
    no_near_miss_count: int = 0
    """Refinement steps whose trace drops no label that they could be set against."""


@dataclass(frozen=True)
class AnnotatedText:
    """A document and its trace as one text.

    `document` is where x stands; `anchors` are words of x that the trace cites; `response_start` is the first character that
    the model wrote; `refine_start` the first of the refinement phase (the end of the text if there is none).
    """

    document_id: str
    trace_id: str
    text: str
    document: Span
    anchors: tuple[Span, ...]
    candidates: tuple[Candidate, ...]
    refinements: tuple[Refinement, ...]
    response_start: int
    refine_start: int
    unlocated: Unlocated = field(default=Unlocated())
