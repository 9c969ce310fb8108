"""How a wording calls a label: mostly in one manner through a trace, by its whole name or by its head alone."""

import random
from collections import Counter
from collections.abc import Sequence

from tasks.traces.stand_in.thinking import Thought

MARKS = (("", ""), ("", ""), ('"', '"'), ("'", "'"), ("**", "**"), ("“", "”"))
"""What stands around a name."""

LEAST_TAIL = 20
"""A name `head: tail` is called by its head where the tail describes it, so is no short word that belongs to the name."""


def heads(thought: Thought) -> list[str]:
    """The short name of each candidate; its whole name where the head is not its own."""
    split = [candidate.name.partition(": ") for candidate in thought.candidates]
    counts = Counter(head for head, _, _ in split)
    return [
        head if counts[head] == 1 and len(tail) >= LEAST_TAIL else candidate.name
        for candidate, (head, _, tail) in zip(thought.candidates, split, strict=True)
    ]


class Names:
    """The names of one trace, drawn once: whole or short, with marks around them or none."""

    def __init__(self, thought: Thought, draw: random.Random, whole_frac: float) -> None:
        """Prepare for one thought; whole names are marked, for a comma in them would be one of the sentence."""
        is_whole = draw.random() < whole_frac
        self._names = [candidate.name for candidate in thought.candidates] if is_whole else heads(thought)
        self._open, self._close = draw.choice(MARKS[2:] if is_whole else MARKS)

    def __getitem__(self, place: int) -> str:
        """The candidate at a place, as it stands in a sentence."""
        return f"{self._open}{self._names[place]}{self._close}"

    def bare(self, place: int) -> str:
        """The candidate without marks, as it stands in a list."""
        return self._names[place]


def words_of(words: Sequence[str]) -> str:
    """The evidence in quotes, joined by `and`."""
    return " and ".join(f'"{word}"' for word in words) or "its own topic"
