"""The stand-in's own wording, from its own templates, with the truth of each sentence beside it."""

import random
from collections.abc import Iterator

from tasks.traces.stand_in.thinking import Thought
from tasks.traces.stand_in.wording import CLOSINGS, COMPARISONS, DROPS, KEEPS, OPENINGS, TURNS
from tests.bench.wordings.naming import heads, words_of
from tests.bench.wordings.said import Said


def own(thought: Thought, title: str, draw: random.Random) -> list[Said]:
    """Opening, list, turn, a step a candidate, closing, final list: as `Writer._prose` puts them."""
    names = _mentions(thought, draw)
    is_quoted = draw.random() < 0.5
    opening = draw.choice(OPENINGS).format(title=title.strip().rstrip(".") or "one thing")
    return [
        Said(f"{opening}\n\n", "shortlist"),
        *_listed(names, draw),
        Said(f"{draw.choice(TURNS)}\n\n", "refine"),
        *_steps(thought, names, is_quoted, draw),
        Said(f"{draw.choice(CLOSINGS)}\n\n", "answer"),
        *_final(thought, names, draw),
    ]


def _mentions(thought: Thought, draw: random.Random) -> list[str]:
    is_short = draw.random() < 0.35
    return heads(thought) if is_short else [candidate.name for candidate in thought.candidates]


def _listed(names: list[str], draw: random.Random) -> list[Said]:
    layout = draw.randrange(3)
    places = range(len(names))
    if layout == 2:
        text = "Candidates: " + ", ".join(f'"{name}"' for name in names) + ".\n\n"
        return [Said(text, "shortlist", names=tuple(places))]
    ends = ["\n"] * (len(names) - 1) + ["\n\n"]
    bullets = ["- "] * len(names) if layout == 0 else [f"{place + 1}. " for place in places]
    return [Said(f"{bullets[i]}{names[i]}{ends[i]}", "shortlist", names=(i,)) for i in places]


def _steps(thought: Thought, names: list[str], is_quoted: bool, draw: random.Random) -> Iterator[Said]:
    for place, candidate in enumerate(thought.candidates):
        label, rival = names[place], "" if candidate.rival is None else names[candidate.rival]
        if is_quoted:
            label, rival = f'"{label}"', f'"{rival}"'
        templates = KEEPS if candidate.is_kept else DROPS if candidate.rival is None else COMPARISONS
        text = draw.choice(templates).format(label=label, rival=rival, words=words_of(candidate.words))
        named = (place,) if candidate.rival is None else (place, candidate.rival)
        yield Said(f"{text}\n\n", "refine", place, "keep" if candidate.is_kept else "drop", named)


def _final(thought: Thought, names: list[str], draw: random.Random) -> list[Said]:
    bullet = draw.choice(("", "- "))
    kept = [place for place, candidate in enumerate(thought.candidates) if candidate.is_kept]
    return [Said(f"{bullet}{names[place]}\n", "answer", names=(place,)) for place in kept]
