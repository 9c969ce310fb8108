"""What a wording gives: sentences in order, each with the phase it belongs to and what it decides. Joined they are the text."""

import random
from dataclasses import dataclass
from typing import Literal, Protocol

from tasks.traces.stand_in.thinking import Thought

Phase = Literal["shortlist", "refine", "answer"]
Verdict = Literal["keep", "drop", "none"]


@dataclass(frozen=True)
class Said:
    """One sentence or list item, with the space or line break that follows it.

    `subject` is the place in `thought.candidates` of the label the sentence decides about, or null; `names` are the places of
    all candidates it names. A sentence that names no label and decides nothing has the phase of the sentences around it.
    """

    text: str
    phase: Phase
    subject: int | None = None
    verdict: Verdict = "none"
    names: tuple[int, ...] = ()


class Wording(Protocol):
    """Words a thought; the same draw gives the same text."""

    def __call__(self, thought: Thought, title: str, draw: random.Random) -> list[Said]:
        """The reasoning about a document of this title: every candidate is named before it is judged, each judged once."""
