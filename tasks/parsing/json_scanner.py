"""JSON with the place of every value, as far as it goes: a cut-off text gives what stood before the cut."""

import json
import re
from typing import NamedTuple

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_ATOM = r'[^\s{}\[\]:,"]+'
VALUE = re.compile(rf"\s*+(?:({_STRING})|({_ATOM})|([{{\[]))", re.DOTALL)
MEMBER = re.compile(rf"[\s,]*+({_STRING})\s*+:\s*+(?:({_STRING})|({_ATOM}))?", re.DOTALL)
COMMAS = re.compile(r"[\s,]*+")
SURROGATE = re.compile("[\ud800-\udfff]")
MAX_DEPTH = 16
"""Deeper nesting is no answer of ours; the text is read as if it were cut off there."""


class Node(NamedTuple):
    """A value and its characters: a string's span leaves out its quotes and keeps its escapes."""

    value: "str | float | bool | dict[str, Node] | list[Node] | None"
    start: int
    end: int

    @property
    def fields(self) -> "dict[str, Node]":
        """The members of an object; none of anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> "list[Node]":
        """The elements of an array; none of anything else."""
        return self.value if isinstance(self.value, list) else []

    @property
    def text(self) -> str:
        """A string as it is, a whole number in digits, anything else empty."""
        if isinstance(self.value, float) and self.value.is_integer():
            return str(int(self.value))
        return self.value if isinstance(self.value, str) else ""

    @property
    def is_empty(self) -> bool:
        """True unless there is an element, a member, a number or a word in it."""
        return not (self.items or self.fields or self.text.strip())


class BrokenJsonError(ValueError):
    """No JSON value begins there; never leaves this room."""


def scan_json(text: str, start: int, end: int) -> Node:
    """The JSON value that begins at `start`; at a cut or a fault, the members before it, and the span ends there.

    Raises:
        BrokenJsonError: no value begins there.
    """
    node, _ = _Scanner(text, end).value(start, 0)
    if node is None:
        raise BrokenJsonError(f"no JSON value at character {start}")
    return node


class _Scanner:
    """Reads values from a place on: each method gives the value and the place after it (the end, after a fault)."""

    def __init__(self, text: str, end: int) -> None:
        self._text = text
        self._end = end
        self._fault: int | None = None

    def value(self, at: int, depth: int) -> tuple[Node | None, int]:
        match = VALUE.match(self._text, at, self._end) if depth <= MAX_DEPTH else None
        if match is None:
            return None, at
        if match.lastindex == 3:
            read = self._object if match[3] == "{" else self._array
            return read(match.start(3), match.end(), depth)
        return _leaf(match, 1), match.end()

    def _object(self, start: int, at: int, depth: int) -> tuple[Node, int]:
        members: dict[str, Node] = {}
        while match := MEMBER.match(self._text, at, self._end):
            at = match.end()
            node = _leaf(match, 2) if match.lastindex != 1 else None
            if node is None:
                node, at = self.value(at, depth + 1)
            if node is not None:
                members.setdefault(_decoded(match[1]).strip().casefold(), node)
        return self._closed(members, start, at, "}")

    def _array(self, start: int, at: int, depth: int) -> tuple[Node, int]:
        elements: list[Node] = []
        while True:
            node, after = self.value(COMMAS.match(self._text, at, self._end).end(), depth + 1)  # type: ignore[union-attr]
            if node is None:
                return self._closed(elements, start, at, "]")
            elements.append(node)
            at = after

    def _closed(self, value: "dict[str, Node] | list[Node]", start: int, at: int, bracket: str) -> tuple[Node, int]:
        close = COMMAS.match(self._text, at, self._end)
        end = close.end() if close else at
        if end < self._end and self._text[end] == bracket:
            return Node(value, start, end + 1), end + 1
        if self._fault is None:
            self._fault = at
        return Node(value, start, self._fault), self._end


def _leaf(match: re.Match[str], group: int) -> Node:
    if match.lastindex == group:
        return Node(_decoded(match[group]), match.start(group) + 1, match.end(group) - 1)
    return Node(_atom(match[group + 1]), match.start(group + 1), match.end(group + 1))


def _decoded(token: str) -> str:
    if "\\" not in token:
        return token[1:-1]
    try:
        text = json.loads(token, strict=False)
    except ValueError:
        return token[1:-1]
    return SURROGATE.sub("\ufffd", text)


def _atom(token: str) -> float | bool | None:
    if token in ("true", "True"):
        return True
    if token in ("false", "False"):
        return False
    try:
        return float(token)
    except ValueError:
        return None
