"""Lists of labels as people write them: bullets, numbers, quotes, one a line; and the readings of one item."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tasks.parsing.cues import ANSWER_LEAD, cue_text, judgements, lowered
from tasks.parsing.drafts import Link, Mention
from tasks.parsing.names import Catalogue
from tasks.parsing.spans import Taken

BULLET = re.compile(
    r"[ \t>]*(?:[-*•–‣▪○●·+]|\(?\d{1,3}[.)]|\(?[a-z][.)]|\[[ xX]\])[ \t]+|[ \t]*\|[ \t]*(?:#?\d{1,3}[ \t]*\|)?[ \t]*(?=[^\s|-])"
)
"""A bullet, a number, or the bar that opens a table's row, with the number in its first cell."""
LINE = re.compile(r"[^\n\r]+")
RULE_OR_FENCE = re.compile(r"[ \t]*(?:```.*|~~~.*|[-*_=]{3,}[ \t]*|\|[-:| \t]+|<[^<>]*>)$")
MARKS = {'"': '"', "“": "”", "«": "»", "‘": "’", "'": "'", "`": "`", "*": "*", "_": "_"}
OPENED = re.compile(r"(\*\*|__|[\"“«‘'`*_])")
SCORE = re.compile(
    r"(?:[ \t]*[:,(|][ \t]*|[ \t]+[-–—][ \t]+|[ \t]+)(?:(?:confidence|score|p)[ \t]*[:=]?[ \t]*)?"
    r"(0?\.\d{1,4}|[01]\.0{1,4}|\d{1,3}[ \t]?%)[ \t]*\)?$",
    re.IGNORECASE,
)
CLAUSE = re.compile(r"\s+[-–—=]+>?\s+|\s+\|(?:\s+|$)|\s+→\s+|:\s+|\s+\(|\s+\[|;\s+|,\s+")
SEPARATOR = re.compile(
    r"[\s,;|](?<!\s[\s,;|])(?:(?<=[,;|])\s*+(?:and\s++|or\s++)?|(?<=\s)\s*+(?:[,;|]\s*+(?:and\s++|or\s++)?|(?:and|or)\s++))"
)
"""Begins where no white space stands before; its first character is at the head, so that the search jumps to such characters."""
REMARK_START = re.compile(
    r"(?:it|its|this|that|the|a|an|because|since|as|for|also|maybe|named|mentioned|likely|probably|very|most)\b"
)
PLACE = re.compile(r"\[\d{1,3}\][ \t]+")
"""A place in a list, where it is no label number: `[3] vim`."""

LONGEST_SCORE = 80
MOST_WRAPS = 8
LONGEST_NAME = 300
"""Longer texts are no label names, and are not looked up."""

SENTENCE_WORDS = 12
"""An unknown line of more words is a sentence, not a label."""


class Item(NamedTuple):
    """One line: the characters of its text without bullet and trailing marks, and whether it had a bullet."""

    start: int
    end: int
    has_bullet: bool


def list_items(text: str, start: int, end: int) -> Iterator[Item]:
    """The lines of a region that hold text; fences, rules and lone tags are left out."""
    for line in LINE.finditer(text, start, end):
        if RULE_OR_FENCE.match(line[0]):
            continue
        bullet = BULLET.match(text, line.start(), line.end())
        first, last = trimmed(text, bullet.end() if bullet else line.start(), line.end(), " \t,;")
        if last > first:
            yield Item(first, last, bullet is not None)


def trimmed(text: str, start: int, end: int, chars: str = " \t\n\r") -> tuple[int, int]:
    """The span without these characters at its ends (always without white space)."""
    while start < end and (text[start] in chars or text[start].isspace()):
        start += 1
    while end > start and (text[end - 1] in chars or text[end - 1].isspace()):
        end -= 1
    return start, end


def unwrapped(text: str, start: int, end: int) -> tuple[int, int]:
    """The inside of quotes, backticks or stars that wrap the whole span."""
    for _ in range(MOST_WRAPS):
        is_wrapped = end - start > 2 and MARKS.get(text[start]) == text[end - 1]
        if not is_wrapped or text[start] in text[start + 1 : end - 1].strip("*_"):
            break
        start, end = start + 1, end - 1
    return start, end


def readings(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """What an item may name, longest first: all of it, its marked beginning, or what stands before a dash, colon, bracket."""
    whole = unwrapped(text, start, end)
    yield whole
    number = PLACE.match(text, start, end)
    if number and number.end() < end and not PLACE.match(text, number.end(), end):
        yield from readings(text, number.end(), end)
    opened = OPENED.match(text, start, end)
    if opened:
        closing = text.find(MARKS.get(opened[1], opened[1]), opened.end(), end)
        if closing > opened.end():
            inner = trimmed(text, opened.end(), closing, ":")
            yield unwrapped(text, *inner)
    cuts = [m.start() for m in CLAUSE.finditer(text, start, min(end, start + LONGEST_NAME)) if m.start() > start]
    for cut in reversed(cuts):
        yield unwrapped(text, *trimmed(text, start, cut, " .:"))
    yield trimmed(text, *whole, ".")


def known_reading(text: str, item: Item, catalogue: Catalogue, takes_ids: bool) -> tuple[int, int, Link] | None:
    """The first reading the catalogue knows, with its link.

    Where labels are called `vim: an editor`, `vim: a river` is another label, not `vim` with a remark.
    """
    for start, end in readings(text, item.start, item.end):
        link = catalogue.lookup(text[start:end], takes_ids) if start < end <= start + LONGEST_NAME else None
        if link is not None and (is_remark_cut(text, item, end) or not catalogue.has_tail(link.label_id)):
            return start, end, link
    return None


def known_label(text: str, item: Item, catalogue: Catalogue, takes_ids: bool) -> bool:
    """True for an item that is a known label, with its place in a list or marks around it, and no more."""
    known = known_reading(text, item, catalogue, takes_ids)
    return known is not None and not any(char.isalnum() for char in text[known[1] : item.end])


def is_remark_cut(text: str, item: Item, end: int) -> bool:
    """True if what follows a reading is no more than a remark; after a bare colon it must read like one."""
    rest = text[end : min(item.end, end + LONGEST_NAME)].lstrip()
    if not rest.startswith(":") or rest.startswith((":*", ":_")):
        return True
    said = lowered(rest[1:].strip())
    return looks_like_sentence(said) or REMARK_START.match(said) is not None or bool(judgements(cue_text(said), 0, len(said)))


def item_mention(text: str, source: str, item: Item, catalogue: Catalogue, takes_ids: bool) -> Mention | None:
    """The label an item names; an unknown text counts as a label unless it is a sentence."""
    known = known_reading(text, item, catalogue, takes_ids)
    if known:
        return Mention(text[known[0] : known[1]], source, known[0], known[1], known[2])
    if looks_like_sentence(text[item.start : item.end]):
        return None
    spans = [span for span in dict.fromkeys(readings(text, item.start, item.end)) if span[1] > span[0]]
    start, end = spans[1] if OPENED.match(text, item.start, item.end) and len(spans) > 1 else spans[0]
    others = [text[s:e] for s, e in spans if (s, e) != (start, end) and is_remark_cut(text, item, e)]
    return Mention(text[start:end], source, start, end, None, (text[start:end], *others[:2]))


def looks_like_sentence(line: str) -> bool:
    """True for a line that says something instead of naming a label."""
    words = line.split()
    return (
        len(words) > SENTENCE_WORDS
        or line.endswith((":", "：", " is", " are"))
        or (len(words) > 2 and line.endswith((".", "!", "?")))
    )


def answer_mentions(text: str, source: str, start: int, end: int, catalogue: Catalogue, takes_ids: bool) -> list[Mention]:
    """The labels of a final list, one a line, with their stated confidence; known names by commas on one line count too."""
    mentions: list[Mention] = []
    for item in list_items(text, start, end):
        if text[item.start] == "#":
            continue
        link = catalogue.lookup(text[item.start : item.end], takes_ids)
        if link is not None and link.method == "exact":
            mentions.append(Mention(text[item.start : item.end], source, item.start, item.end, link))
            continue
        cut, score = _without_score(text, _without_lead(text, item, catalogue, takes_ids), link)
        pieces = _known_pieces(text, source, cut, catalogue, takes_ids)
        mention = None if pieces else item_mention(text, source, cut, catalogue, takes_ids)
        mentions += [m._replace(score=score) for m in pieces or ([mention] if mention else [])]
    return mentions


def _without_lead(text: str, item: Item, catalogue: Catalogue, takes_ids: bool) -> Item:
    """`The labels are vim and nano` from its first label on, if that is one."""
    lead = None if item.has_bullet else ANSWER_LEAD.match(lowered(text[item.start : item.end]))
    if lead is None or known_reading(text, item, catalogue, takes_ids):
        return item
    rest = item._replace(start=item.start + lead.end())
    pieces = separated(text, *rest[:2], names_in(text, rest, catalogue))
    return rest if any(known_reading(text, Item(*span, False), catalogue, takes_ids) for span in pieces) else item


def names_in(text: str, item: Item, catalogue: Catalogue) -> Taken:
    """Where an item holds whole names: a comma in one of them divides nothing."""
    return Taken(item.start, item.end, ((start, end) for start, end, _ in catalogue.find_names(text, item.start, item.end)))


def _without_score(text: str, item: Item, link: Link | None) -> tuple[Item, float | None]:
    score = SCORE.search(text, max(item.start, item.end - LONGEST_SCORE), item.end)
    if score is None or (link is not None and link.method != "id"):
        return item, None
    start, end = trimmed(text, item.start, score.start())
    value = float(score[1].rstrip("% \t")) / (100 if "%" in score[1] else 1)
    return (item._replace(end=end), value if value <= 1 else None) if end > start else (item, None)


def _known_pieces(text: str, source: str, item: Item, catalogue: Catalogue, takes_ids: bool) -> list[Mention]:
    """`vim, emacs and nano` on one line, if most of its pieces are labels."""
    if not SEPARATOR.search(text, item.start, item.end):
        return []
    pieces = list(separated(text, item.start, item.end, names_in(text, item, catalogue)))
    mentions = []
    for start, end in pieces:
        link = catalogue.lookup(text[start:end], takes_ids)
        if link is None and looks_like_sentence(text[start:end]):
            return []
        mentions.append(Mention(text[start:end], source, start, end, link))
    known = sum(mention.link is not None for mention in mentions)
    return mentions if len(pieces) > 1 and 2 * known > len(pieces) else []


def separated(text: str, start: int, end: int, names: Taken | None = None) -> Iterator[tuple[int, int]]:
    """The pieces of an enumeration between commas, semicolons, bars, `and`, `or`; none of these divides a name."""
    gaps = [(gap.start(), gap.end()) for gap in SEPARATOR.finditer(text, start, end)]
    at = start
    for gap_start, gap_end in [*gaps, (end, end)]:
        if names is not None and gap_start < end and names.covers(gap_start, gap_end + 1):
            continue
        first, last = unwrapped(text, *trimmed(text, at, gap_start, " ."))
        if last > first:
            yield first, last
        at = gap_end
