"""A labelled set of mentions, made from label names by edits as a teacher's wording differs; the same seed gives the same set.

Kinds that keep the label: a spelling of its name. Kinds that must not link: names close to a label's that are no label's.
An edit that happens to spell another label's name is drawn again, so the truth holds by construction.
"""

import random
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.parsing.names import normalise

Half = Literal["calibration", "test"]
ATTEMPTS = 8
LONG_WORD = re.compile(r"[A-Za-z]{5,}")
SHORTER = {
    "library": "lib", "libraries": "libs", "documentation": "docs", "development": "dev", "application": "app",
    "applications": "apps", "utilities": "utils", "utility": "util", "configuration": "config", "environment": "env",
    "administration": "admin", "repository": "repo", "directory": "dir", "command line": "CLI", "command-line": "CLI",
    "graphical user interface": "GUI", "graphical": "GUI", "user interface": "UI", "database": "DB", "operating system": "OS",
    "application programming interface": "API", "javascript": "JS", "python 3": "py3", "reference": "ref", "source": "src",
    "programming": "prog", "international": "intl", "transitional": "trans.", "multimedia": "mm", "and": "&",
}  # fmt: skip
SUFFIXES = ("doc", "dev", "data", "utils", "gtk", "server", "common", "plugin", "cli", "tests", "lite", "extras", "qt", "tools")
ADDED = ("the {}", "{} package", "{} (recommended)", "{} tool", "{} from Debian", "maybe {}", "{}, current version", "Debian {}")


@dataclass(frozen=True)
class EditedName:
    """An edited name, the label it means (None: no label), and the half of the set its label is in."""

    text: str
    label_id: int | None
    kind: str
    half: Half


@dataclass(frozen=True)
class Name:
    """A label name with the parts before and after its first `: `; a name without one is all head."""

    whole: str
    head: str
    tail: str


def split_name(name: str) -> Name:
    """The name and its two parts."""
    head, _, tail = name.partition(": ")
    return Name(name, head, tail)


Draw = random.Random
Edit = Callable[[Name, Draw], str | None]


def recase(text: str, draw: Draw) -> str:
    """Another case, or other marks between the same words."""
    return draw.choice(
        (
            text.upper(),
            text.title(),
            text.capitalize(),
            text.replace("-", " "),
            text.replace(": ", " - "),
            f'"{text}"',
            f"{text}.",
            text.replace("-", "_"),
        )
    )


def mistype(text: str, draw: Draw, count: int) -> str | None:
    """One or two letters left out, doubled, wrong or exchanged; never the first of the text, never a digit."""
    for _ in range(count):
        places = [i for i, char in enumerate(text) if i and char.isalpha()]
        if len(places) < 5:
            return None
        at, fault = draw.choice(places), draw.choice(("left out", "doubled", "wrong", "exchanged"))
        if fault == "exchanged" and text[at + 1 : at + 2].isalpha():
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        else:
            instead = {"left out": "", "doubled": text[at] * 2}.get(fault, draw.choice(string.ascii_lowercase))
            text = text[:at] + instead + text[at + 1 :]
    return text


def renumber(name: Name, draw: Draw) -> str | None:
    """The plural of one of its words for the singular, or the other way round."""
    words = [m for m in LONG_WORD.finditer(name.whole) if m.start() >= len(name.head) or not name.tail]
    if not words:
        return None
    word = draw.choice(words)
    return name.whole[: word.start()] + other_number(word[0]) + name.whole[word.end() :]


def other_number(word: str) -> str:
    """`library` for `libraries`, and the other way round."""
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2] not in "aeiou" else f"{word}s"


def reorder(name: Name, draw: Draw) -> str | None:
    """The part after the colon first, or two neighbouring words exchanged."""
    words = name.tail.split()
    if not words:
        return None
    if len(words) < 3 or draw.random() < 0.5:
        return draw.choice((f"{name.tail} ({name.head})", f"{name.tail}: {name.head}", f"{name.tail} - {name.head}"))
    at = draw.randrange(len(words) - 1)
    words[at], words[at + 1] = words[at + 1], words[at]
    return f"{name.head}: {' '.join(words)}"


def abbreviate(name: Name, draw: Draw) -> str | None:
    """The usual short form of its words, or its longest word cut: `dev. files`."""
    text = name.whole
    for long, short in SHORTER.items():
        text = re.sub(rf"(?<![\w-]){re.escape(long)}(?![\w-])", short, text, flags=re.IGNORECASE)
    if text != name.whole:
        return text
    words = LONG_WORD.findall(name.tail)
    longest = max(words, key=len, default="")
    return name.whole.replace(longest, f"{longest[: draw.choice((3, 4))]}.", 1) if len(longest) > 6 else None


def drop_words(name: Name, draw: Draw) -> str | None:
    """One word fewer, or two where there are many; the head stays."""
    words = name.tail.split()
    if len(words) < 2:
        return None
    for _ in range(draw.choice((1, 2)) if len(words) > 4 else 1):
        del words[draw.randrange(len(words))]
    return f"{name.head}: {' '.join(words)}"


def add_words(name: Name, draw: Draw) -> str:
    """Words around the name, or around its head."""
    return draw.choice(ADDED).format(draw.choice((name.whole, name.head)) if name.tail else name.whole)


def described(edit: Edit, name: Name, draw: Draw) -> str | None:
    """The part after the colon, edited."""
    text = edit(Name(f"x: {name.tail}", "x", name.tail), draw) if name.tail else None
    return text and text.removeprefix("x: ")


KEEPING: dict[str, Edit] = {
    "exact": lambda name, draw: name.whole,
    "case or marks, whole": lambda name, draw: recase(name.whole, draw),
    "case or marks, short": lambda name, draw: recase(name.head, draw),
    "short form": lambda name, draw: name.head if name.tail else None,
    "tail alone": lambda name, draw: name.tail or None,
    "plural": renumber,
    "reordered": reorder,
    "abbreviated": abbreviate,
    "typo 1, whole": lambda name, draw: mistype(name.whole, draw, 1),
    "typo 2, whole": lambda name, draw: mistype(name.whole, draw, 2),
    "typo 1, short": lambda name, draw: mistype(name.head, draw, 1),
    "typo 2, short": lambda name, draw: mistype(name.head, draw, 2),
    "dropped words": drop_words,
    "added words": add_words,
}
"""Edits that still mean the label; a short form or a tail that several labels share means none."""

DESCRIBING: dict[str, Edit] = {
    "tail alone, dropped words": lambda name, draw: described(drop_words, name, draw),
    "tail alone, abbreviated": lambda name, draw: described(abbreviate, name, draw),
    "tail alone, plural": lambda name, draw: described(renumber, name, draw),
}
"""Edits of what a label is said to be, without its name: harder than all others, and counted apart."""

BREAKING = ("sibling, whole", "sibling, short", "head of one, tail of another", "invented")


def sibling_of(head: str, draw: Draw) -> str:
    """A head as a related label might have: another number, or another last part."""
    if re.search(r"\d", head) and draw.random() < 0.5:
        return re.sub(r"\d+", lambda m: str(int(m[0]) + draw.randint(1, 4)), head, count=1)
    stem = head.rpartition("-")[0] if head.count("-") > 0 and draw.random() < 0.5 else head
    return f"{stem}-{draw.choice(SUFFIXES)}"


def near_miss(kind: str, name: Name, other: Name, third: Name, draw: Draw) -> str:
    """A name that is no label's, made of one, two or three that are."""
    if kind == "invented":
        words = [*other.tail.split(), *third.tail.split()] or [other.head, third.head]
        return f"{name.head[: max(3, len(name.head) // 2)]}{other.head[-3:]}: {' '.join(draw.sample(words, min(4, len(words))))}"
    if kind == "head of one, tail of another":
        return f"{name.head}: {other.tail or other.head}"
    sibling = sibling_of(name.head, draw)
    return f"{sibling}: {name.tail}" if kind == "sibling, whole" and name.tail else sibling


class EditMaker:
    """Draws edits of a set of labels."""

    def __init__(self, names: Sequence[str], seed: int) -> None:
        """Take the label names; a label's id is its place."""
        self._names = [split_name(name) for name in names]
        self._draw = random.Random(seed)
        self._taken = {normalise(name.whole): label for label, name in enumerate(self._names)}
        self._heads = Counter(normalise(name.head) for name in self._names)
        self._tails = Counter(normalise(name.tail) for name in self._names)
        wholes = Counter(normalise(name.whole) for name in self._names)
        self._usable = [label for label, name in enumerate(self._names) if wholes[normalise(name.whole)] == 1]

    def mentions(self, per_kind_count: int, most_tried: int | None = None) -> list[EditedName]:
        """So many mentions of every kind (fewer where labels are few), each of another label; halves by label.

        Args:
            per_kind_count: of both halves together.
            most_tried: labels that an edit is tried on; null: all, which takes 20 seconds a kind that fits none of 500,000.
        """
        labels = self._draw.sample(self._usable, len(self._usable))
        halves: dict[int, Half] = {label: "test" if place % 2 else "calibration" for place, label in enumerate(labels)}
        found: list[EditedName] = []
        for kind in (*KEEPING, *BREAKING, *DESCRIBING):
            tried = self._draw.sample(labels, min(most_tried or len(labels), len(labels)))
            made = (self._mention(kind, label, halves[label]) for label in tried)
            kept = (mention for mention in made if mention is not None)
            found += [mention for mention, _ in zip(kept, range(per_kind_count), strict=False)]
        return found

    def _mention(self, kind: str, label: int, half: Half) -> EditedName | None:
        for _ in range(ATTEMPTS):
            text = self._edit(kind, label)
            if text is not None and self._is_true(kind, text, label):
                return EditedName(text, self._truth(kind, label), kind, half)
        return None

    def _edit(self, kind: str, label: int) -> str | None:
        name = self._names[label]
        if kind not in BREAKING:
            return (KEEPING | DESCRIBING)[kind](name, self._draw)
        return near_miss(kind, name, self._draw.choice(self._names), self._draw.choice(self._names), self._draw)

    def _is_true(self, kind: str, text: str, label: int) -> bool:
        """A near miss names no label; any other edit names no other label, and differs from its own."""
        key, name = normalise(text), self._names[label]
        if not key or kind in BREAKING:
            return bool(key) and self._names_nothing(kind, text, key)
        if kind in DESCRIBING:
            return self._tails[normalise(name.tail)] == 1 and not (self._tails[key] or self._heads[key] or key in self._taken)
        if kind in ("exact", "short form", "tail alone"):
            return True
        is_head_alone = kind.endswith("short") or (kind == "added words" and name.whole not in text)
        if is_head_alone and self._heads[normalise(name.head)] > 1:
            return False
        names_another = self._taken.get(key, label) != label or (key in self._heads and key != normalise(name.head))
        return not names_another and text not in (name.whole, name.head)

    def _names_nothing(self, kind: str, text: str, key: str) -> bool:
        # `wixl-data: a tool` names the label `wixl-data`: that is no sibling of `wixl` that does not exist.
        is_label_head = kind.startswith("sibling") and normalise(split_name(text).head) in self._heads
        return key not in self._taken and key not in self._heads and not is_label_head

    def _truth(self, kind: str, label: int) -> int | None:
        if kind in BREAKING:
            return None
        head, tail = normalise(self._names[label].head), normalise(self._names[label].tail)
        if kind == "short form":
            return label if self._heads[head] == 1 else None
        if kind == "tail alone":
            return label if self._tails[tail] == 1 and tail not in self._taken and not self._heads[tail] else None
        return label
