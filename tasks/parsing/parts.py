"""The parts of a structured answer, picked from all the pieces a text holds: noise before and after the answer loses."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

PARTS = ("shortlist", "steps", "answer")
Value = TypeVar("Value")


def best_parts(pieces: Sequence[Mapping[str, Value]], weigh: Callable[[Value], int] = lambda _: 1) -> dict[str, Value]:
    """The parts of one answer: the row of pieces in order (a shortlist, then steps, then an answer) with the most parts.

    Of equal rows the first counts, for models go on talking after their answer. A shortlist or steps that the row lacks are
    taken from elsewhere, a final answer never is: where none follows, there is none.

    Args:
        pieces: the parts that stand together, in the order of the text.
        weigh: how much a part counts.
    """
    rows: list[dict[str, Value]] = []
    last = len(PARTS)
    for piece in filter(None, pieces):
        places = [PARTS.index(name) for name in piece]
        if min(places) > last:
            rows[-1].update(piece)
        else:
            rows.append(dict(piece))
        last = max(places)
    best = max(rows, key=lambda row: sum(map(weigh, row.values())), default={})
    elsewhere = {name: value for row in reversed(rows) for name, value in row.items() if name != "answer"}
    return elsewhere | best
