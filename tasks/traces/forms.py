"""Answers as far as asking goes: is one in the form it was asked for, and which labels does a phase-1 answer list?

The parse stage reads answers with the catalogue at hand; here only what the next request depends on is read.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

PARTS: Mapping[str, tuple[str, ...]] = {"both": ("shortlist", "steps", "answer"), "phase-1": ("shortlist",)}
PHASE_2_PARTS = ("steps", "answer")
TAGS = {"shortlist": "shortlist", "steps": "reasoning", "answer": "answer"}
LIST_KEYS = ("shortlist", "candidates", "labels", "answer")
NAME_KEYS = ("label", "name", "title")

THINK_CLOSES = re.compile(r"<\s*/\s*think(?:ing)?\s*>", re.IGNORECASE)
THINK_OPENS = re.compile(r"\s*<\s*think(?:ing)?\s*>", re.IGNORECASE)
NO_LABEL_LINE = re.compile(r"\s*+(?:(?:```|~~~)\w*+|<[^<>]*+>|[-*_=]*+)\s*+$")
JSON_OPENS = re.compile(r"\s*+(?:(?:```|~~~)\w*+\s*+)?(?=\{|\[\s*+(?:[\"{]|\d+\s*,))")
_HEADS = r"(?:my |the |final )*(?:shortlist|candidates|labels|answer)"
HEADING = re.compile(rf"^[ \t>]*(?:[#*_]+[ \t]*{_HEADS}[:：*_ \t]*|{_HEADS}[ \t]*[:：][*_ \t]*)$", re.I | re.M)
SECTION = re.compile(r"<\s*(shortlist|candidates|answer|labels)\s*>", re.IGNORECASE)
SECTION_ENDS = re.compile(r"<\s*/?\s*(?:shortlist|candidates|reasoning|answer|labels)\s*>", re.IGNORECASE)
BULLET = re.compile(r"[ \t>]*+(?:[-*•–‣▪○●·+]|\(?\d{1,3}[.)])[ \t]+")
MAX_TRIES = 8
MAX_LISTED = 100
LONGEST_NAME = 300
"""More labels and longer ones are no shortlist: what is listed is paid for again as part of the next question."""

SENTENCE_WORDS = 5


def follows_form(form: str, variant: str, completion_text: str, reasoning_text: str) -> bool:
    """True if an answer is in the form it was asked for; a `<think>` block before it does not count.

    Args:
        form: `json_schema`, `json`, `tagged` or `free`.
        variant: which phases were asked for, and so which parts must be there.
        completion_text: the message content.
        reasoning_text: the reasoning the server keeps apart; any text follows `free`.
    """
    if form == "free":
        return bool(completion_text.strip() or reasoning_text.strip())
    parts = PARTS.get(variant, PHASE_2_PARTS)
    texts = _without_thinking(completion_text)
    if form == "tagged":
        return any(all(_has_section(text, TAGS[part]) for part in parts) for text in texts)
    return any(all(isinstance(found.get(part), list) for part in parts) for text in texts for found in _objects(text))


def listed_shortlist(completion_text: str, reasoning_text: str) -> list[str]:
    """The first hundred labels a phase-1 answer lists, in its order, each once and as it is written; empty if it lists none.

    A label that is given by its number alone reads as `[12]`.
    """
    for text in _without_thinking(completion_text):
        names = _listed(text, takes_plain_lines=True)
        if names:
            return names[:MAX_LISTED]
    return _listed(reasoning_text, takes_plain_lines=False)[:MAX_LISTED]


def _without_thinking(text: str) -> Iterator[str]:
    """What follows the `<think>` block: after its last closing tag, else after its first, for an answer may quote the tag."""
    closes = [] if text.lstrip()[:1] in ("{", "`") else [match.end() for match in THINK_CLOSES.finditer(text)]
    if closes:
        yield from dict.fromkeys((text[closes[-1] :], text[closes[0] :]))
    elif not THINK_OPENS.match(text):
        yield text


def _has_section(text: str, tag: str) -> bool:
    low = text.lower()
    opened = low.find(f"<{tag}>")
    return opened >= 0 and low.find(f"</{tag}>", opened) >= 0


def _objects(text: str) -> Iterator[dict[str, Any]]:  # a JSON object: each key has its own type
    """The JSON objects that stand in a text, outermost first; noise before and after is passed over."""
    at = 0
    for _ in range(MAX_TRIES):
        at = text.find("{", at)
        if at < 0:
            return
        value, at = _decoded(text, at)
        if isinstance(value, dict):
            yield value


def _decoded(text: str, at: int) -> tuple[Any, int]:  # as above
    """The JSON value that begins here and the place after it; null and the next place if there is none."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at + 1


def _listed(text: str, takes_plain_lines: bool) -> list[str]:
    opens = JSON_OPENS.match(text)
    if opens:
        return _listed_in_json(text[opens.end() :])
    found = next((names for value in _objects(text) if (names := _names(value))), []) if '"shortlist"' in text else []
    if found:
        return found
    section = SECTION.search(text)
    if section:
        ends = SECTION_ENDS.search(text, section.end())
        return _lines(text[section.end() : ends.start() if ends else len(text)])
    headings = list(HEADING.finditer(text))
    if headings:
        return _lines(text[headings[-1].end() :])
    bulleted = [line for line in text.split("\n") if BULLET.match(line)]
    plain = text.split("\n") if takes_plain_lines and not bulleted else bulleted
    return _lines("\n".join(line for line in plain if not _is_sentence(line)))


def _listed_in_json(text: str) -> list[str]:
    """The labels of a JSON answer; of one that was cut off, those that were whole."""
    wholes = (text, text[: text.rfind("}") + 1], text[: max(text.rfind(","), 0)])
    for cut in (whole + end for whole in wholes for end in ("", "]}", "]")):
        value, _ = _decoded(cut, 0)
        if value is not None:
            return _names(value)
    return []


def _names(value: Any) -> list[str]:  # any JSON value
    items = next((value[key] for key in LIST_KEYS if isinstance(value.get(key), list)), []) if isinstance(value, dict) else value
    names = [_name(item) for item in items] if isinstance(items, list) else []
    return _distinct(names)


def _name(item: Any) -> str:  # as above
    if isinstance(item, dict):
        named = next((item[key] for key in NAME_KEYS if isinstance(item.get(key), str)), "")
        number = item.get("id")
        return named if named.strip() or isinstance(number, dict) else _name(number)
    if isinstance(item, int) and not isinstance(item, bool):
        return f"[{item}]"
    return item if isinstance(item, str) else ""


def _lines(text: str) -> list[str]:
    lines = (line for line in text.split("\n") if not NO_LABEL_LINE.match(line))
    return _distinct(line[bullet.end() if (bullet := BULLET.match(line)) else 0 :].strip() for line in lines)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for name in names if name.strip() and len(name) <= LONGEST_NAME))


def _is_sentence(line: str) -> bool:
    line = line.strip()
    return line.endswith((":", "：")) or (len(line.split()) >= SENTENCE_WORDS and line.endswith((".", "!", "?")))
