"""JSON with the place of every value, as far as it goes: a cut-off text gives what stood before the cut."""

import json
import re
from dataclasses import dataclass

TOKEN = re.compile(r'\s*(?:([{}\[\]:,])|("[^"\\]*+(?:\\.[^"\\]*+)*+")|([^\s{}\[\]:,"]+))', re.DOTALL)
SURROGATE = re.compile("[\ud800-\udfff]")
MAX_DEPTH = 16
"""Deeper nesting is no answer of ours; it is read as broken."""


@dataclass(frozen=True, slots=True)
class Node:
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


class BrokenJsonError(ValueError):
    """The text is not JSON, or too deep; never leaves this room."""


def scan_json(text: str, start: int, end: int) -> Node:
    """The JSON value that begins at `start`; at a cut, the members that were whole.

    Raises:
        BrokenJsonError: no value begins there, or it is nested too deeply.
    """
    return _Scanner(text, start, end).value(0)


class _Scanner:
    def __init__(self, text: str, start: int, end: int) -> None:
        self._text = text
        self._end = end
        self._at = start
        self._next()

    def _next(self) -> None:
        match = TOKEN.match(self._text, self._at, self._end)
        self._kind = match.lastindex if match else None
        self._token = match[match.lastindex or 0] if match else ""
        if match:
            self._at = match.end()

    def value(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise BrokenJsonError(f"JSON deeper than {MAX_DEPTH}")
        token, end = self._token, self._at
        start = end - len(token)
        if self._kind == 2:
            self._next()
            return Node(_decoded(token), start + 1, end - 1)
        if self._kind == 3:
            self._next()
            return Node(_atom(token), start, end)
        if token == "{":
            return self._object(start, depth)
        if token == "[":
            return self._array(start, depth)
        raise BrokenJsonError(f"no JSON value at character {start}")

    def _object(self, start: int, depth: int) -> Node:
        members: dict[str, Node] = {}
        last = self._at
        self._next()
        while self._token and self._token != "}":
            if self._kind == 2:
                key = _decoded(self._token).strip().casefold()
                self._next()
                if self._token == ":":
                    self._next()
                    if not self._token or self._token in "}],":
                        continue
                    members.setdefault(key, node := self.value(depth + 1))
                    last = node.end + (isinstance(node.value, str))
                    continue
            elif self._token != ",":
                break
            self._next()
        return Node(members, start, self._close("}", last))

    def _array(self, start: int, depth: int) -> Node:
        elements: list[Node] = []
        last = self._at
        self._next()
        while self._token and self._token not in ("]", "}", ":"):
            if self._token == ",":
                self._next()
                continue
            elements.append(node := self.value(depth + 1))
            last = node.end + (isinstance(node.value, str))
        return Node(elements, start, self._close("]", last))

    def _close(self, bracket: str, last: int) -> int:
        if self._token != bracket:
            return last
        end = self._at
        self._next()
        return end


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
