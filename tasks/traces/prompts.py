"""The two prompts. The document stands last, alone between two marked lines, so that it can be read back exactly."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

DOCUMENT_OPENS = "\n<document>\n"
DOCUMENT_CLOSES = "\n</document>"

_OPEN = """You choose labels for a document from a catalogue of {label_count} labels. You do not see the whole catalogue: \
write each label as the catalogue would. Some of its labels, to show how they are written:
{examples}"""

_CANDIDATES = """You choose labels for a document. You may only choose from the labels listed in the message. Write each \
label with its number, as listed: [number] name."""

_PHASES = """

Work in two phases and write both down.
1. Shortlist: about ten labels that could fit, best first. Include near misses.
2. Refinement: take the shortlisted labels one at a time. Say which words of the document speak for or against the \
label, compare it with a close one where that decides it, and keep or drop it.
Then list the labels you kept, best first, each with your confidence from 0 to 1.

Answer with one JSON object and nothing else:
{"shortlist": [{"label": "..."}],
 "steps": [{"label": "...", "verdict": "keep" or "drop", "compared_to": "..." or null, "reason": "..."}],
 "answer": [{"label": "...", "confidence": 0.9}]}"""


@dataclass(frozen=True)
class Prompt:
    """What the teacher is sent: one system message, one user message."""

    system: str
    user: str

    def messages(self) -> list[dict[str, str]]:
        """The messages as the API takes them."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}]


@dataclass(frozen=True)
class OfferedLabel:
    """One label of the `candidates` prompt."""

    label_id: int
    name: str


def open_prompt(document_text: str, label_count: int, examples: Sequence[str]) -> Prompt:
    """The prompt in which the teacher names labels freely; the example names show it how the catalogue writes."""
    listed = "\n".join(f"- {_one_line(name)}" for name in examples)
    system = _OPEN.format(label_count=label_count, examples=listed) + _PHASES
    return Prompt(system, "Choose the labels of this document." + _marked(document_text))


def candidates_prompt(document_text: str, offered: Sequence[OfferedLabel]) -> Prompt:
    """The prompt in which the teacher picks from labels listed with their numbers."""
    listed = "\n".join(f"[{label.label_id}] {_one_line(label.name)}" for label in offered)
    user = f"Choose from these labels:\n{listed}\n\nChoose the labels of this document." + _marked(document_text)
    return Prompt(_CANDIDATES + _PHASES, user)


def _marked(document_text: str) -> str:
    return f"{DOCUMENT_OPENS}{document_text}{DOCUMENT_CLOSES}"


def _one_line(name: str) -> str:
    return " ".join(name.split())


def read_document(user: str) -> str | None:
    """The document text of a user message made here; null if it has none."""
    _, opening, rest = user.partition(DOCUMENT_OPENS)
    return rest.removesuffix(DOCUMENT_CLOSES) if opening and rest.endswith(DOCUMENT_CLOSES) else None


def read_offered(user: str) -> tuple[int, ...] | None:
    """The label numbers a `candidates` message lists, in its order; null for an `open` message."""
    head = user.partition(DOCUMENT_OPENS)[0]
    if not head.startswith("Choose from these labels:\n"):
        return None
    return tuple(int(number) for number in re.findall(r"^\[(\d+)\] ", head, flags=re.MULTILINE))


def spread_examples(names: Sequence[str], count: int = 8) -> tuple[str, ...]:
    """So many names from the whole length of a list, evenly spaced: the same list gives the same examples."""
    count = min(count, len(names))
    return tuple(names[i * len(names) // count] for i in range(count))
