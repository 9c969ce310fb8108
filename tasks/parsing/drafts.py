"""A trace as it was read, before its mentions are linked. Every span counts characters of one raw column."""

from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Link:
    """Where a mention leads: the label, the rung that found it, and how sure it is (0 to 1)."""

    label_id: int | None
    method: str
    score: float | None


UNLINKED = Link(None, "none", None)


class Mention(NamedTuple):
    """A label as the teacher wrote it.

    `link` is set when the catalogue knows the text; otherwise `texts` are tried in order by the costlier rungs.
    """

    text: str
    source: str
    start: int
    end: int
    link: Link | None = None
    texts: tuple[str, ...] = ()
    score: float | None = None

    @property
    def tried(self) -> tuple[str, ...]:
        """The texts the costlier rungs may link, best first."""
        return self.texts or (self.text,)


@dataclass(slots=True)
class StepDraft:
    """One reasoning step: its span, what it argues about, and what it decides."""

    source: str
    start: int
    end: int
    phase: str
    verdict: str = "none"
    subject: Mention | None = None
    other: Mention | None = None


@dataclass(slots=True)
class TraceDraft:
    """One trace as read: `shortlist` pairs each candidate with the step that names it.

    `answers_none`: the final answer is there and says that no label fits.
    """

    answer_format: str
    shortlist: list[tuple[Mention, int]] = field(default_factory=list)
    steps: list[StepDraft] = field(default_factory=list)
    answers: list[Mention] = field(default_factory=list)
    boundary_step: int | None = None
    boundary_evidence_text: str = ""
    answers_none: bool = False


@dataclass(frozen=True, slots=True)
class RejectDraft:
    """Why a raw trace cannot be used, and what was seen."""

    reason: str
    detail: str
