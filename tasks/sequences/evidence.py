"""Anchors: the words of a document that the steps of its trace cite.

A word of a step is cited if it is a content word (three characters or more, no stop word, no number), stands in the document as
a word, and is not part of the name of a label that the step discusses. Words in quotation marks that the document does not
hold are counted: the trace claims them.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tasks.sequences.annotated import Span
from tasks.sequences.words import Word, find_words, is_content, name_forms, places_of

QUOTED = re.compile(r"\"([^\"\n]{1,60})\"|\u201c([^\u201c\u201d\n]{1,60})\u201d|\u00ab([^\u00ab\u00bb\n]{1,60})\u00bb")
"""Short quotations in straight, curly or angle marks; a longer one is a sentence."""


@dataclass(frozen=True)
class Cited:
    """Words of the document that a step cites, each once in the order of the step, and quoted words it does not hold."""

    words: tuple[str, ...]
    unlocated_count: int


def cited_words(step_text: str, names: Iterable[str], held: Collection[str]) -> Cited:
    """What a step cites of a document.

    Args:
        step_text: the step as written; of a JSON object its texts are read.
        names: names of the labels that the step discusses; wherever they stand in it, whole or shortened, they cite nothing.
        held: the document's words, folded.
    """
    spoken = spoken_text(step_text)
    words = find_words(spoken)
    naming = _naming_places(words, names)
    said = [word for place, word in enumerate(words) if place not in naming and is_content(word.text)]
    quotes = [found.span() for found in QUOTED.finditer(spoken)]
    claimed = {word.text for word in said if any(start < word.start and word.end < end for start, end in quotes)}
    located = dict.fromkeys(word.text for word in said if word.text in held)
    return Cited(tuple(located), sum(text not in held for text in claimed))


def spoken_text(step_text: str) -> str:
    """A step's words without syntax: of a JSON object its texts, a line each; other steps as they are."""
    if not step_text.startswith("{"):
        return step_text
    try:
        values = json.loads(step_text).values()
    except ValueError:
        return step_text
    return "\n".join(value for value in values if isinstance(value, str))


def _naming_places(words: Sequence[Word], names: Iterable[str]) -> set[int]:
    """Places of words that name one of the labels."""
    taken: set[int] = set()
    for name in names:
        for form in name_forms(name):
            for start in places_of(form, words):
                taken.update(range(start, start + len(form)))
    return taken


def find_anchors(document: Sequence[Word], cited: Collection[str], is_first_only: bool = True) -> tuple[Span, ...]:
    """Where cited words stand in the document, in its order: the first place of each, or every place."""
    spans, seen = [], set()
    for word in document:
        if word.text in cited and not (is_first_only and word.text in seen):
            spans.append(Span(word.start, word.end))
            seen.add(word.text)
    return tuple(spans)
