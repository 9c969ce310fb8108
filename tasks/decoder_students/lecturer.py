"""What a teacher does on the documents that are trained on: read from a store, the same for all students."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tasks.decoder_students.cached_signals import PHASES, Arrays, TeacherBatch, interaction_scale, read_batch
from tasks.decoder_students.matching import Profiles, Slot
from tasks.decoder_students.methods import P1, P2
from tasks.decoder_students.signals import Head, PhaseHeads
from tasks.sequences.tokens import TokenSequence

OF_A_PHASE = ("is_row", "is_key", "reading", "outputs", "mass", "effect")
"""Arrays of one phase of a document."""


class Signals(Protocol):
    """Where the arrays of documents are kept."""

    def read(self, documents: Iterable[int], names: Collection[str] | None = None) -> Iterator[Arrays]:
        """Arrays of some documents, in the order asked for; of all names if none are given."""


@dataclass(frozen=True)
class Lecturer:
    """What the teacher does on the documents that are trained on.

    Attributes:
        sequences: of these documents, in the order of the lessons.
        read: places of documents, and heads -> what the teacher does there; with its next tokens if the flag is set.
        scales: root mean square of each head's interaction, by phase and head.
        profiles: scores of all its heads.
        d_model: its width.
    """

    sequences: Sequence[TokenSequence]
    read: Callable[[Sequence[int], PhaseHeads, bool], TeacherBatch]
    scales: Mapping[str, Mapping[Head, float]]
    profiles: Profiles
    d_model: int


def heads_by_phase(slots: Collection[Slot]) -> PhaseHeads:
    """The heads of some slots, each once, by phase."""
    early, refine = (tuple(sorted({(one.layer, one.head) for one in slots if one.matched_phase == phase})) for phase in (P1, P2))
    return PhaseHeads(early, refine)


def make_lecturer(
    store: Signals, slices: Arrays, kept: PhaseHeads, sequences: Sequence[TokenSequence], profiles: Profiles, d_model: int
) -> Lecturer:
    """A teacher whose signals are stored.

    Args:
        store: its signals on `sequences`.
        slices: of `teacher_slices`, for the same heads.
        kept: the heads that were observed.
        sequences: documents that are trained on.
        profiles: scores of all its heads.
        d_model: its width.
    """
    names = _names(OF_A_PHASE)

    def read(places: Sequence[int], heads: PhaseHeads, has_tokens: bool) -> TeacherBatch:
        return read_batch(list(store.read(places, None if has_tokens else names)), slices, kept, heads)

    found = interaction_scale(store.read(range(len(sequences)), _names(("is_row", "mass", "effect"))))
    ordered = zip((P1, P2), (kept.early, kept.refine), found, strict=True)
    scales = {phase: dict(zip(heads, map(float, scale), strict=True)) for phase, heads, scale in ordered}
    return Lecturer(sequences, read, scales, profiles, d_model)


def _names(fields: Sequence[str]) -> set[str]:
    return {f"{phase}_{field}" for phase in PHASES for field in fields}
