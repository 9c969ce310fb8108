"""What a stretch of reasoning argues: for which label, against which, and with what verdict."""

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from tasks.parsing.cue_search import CueText
from tasks.parsing.cues import Judgement, has_comparison, is_argued_against, is_verdict_word, judgements, stated_verdict
from tasks.parsing.drafts import Mention
from tasks.parsing.mentions import Identity, Named
from tasks.parsing.sentences import MARKED, Sentence

OBJECT_AFTER = re.compile(r"[\s\"“‘«'`*_(\[]*(?:the |label )?[\"“‘«'`*_(\[]*")
OBJECT_BEFORE = re.compile(
    r"[\s\"”’»'`*_)\]?]*+(?:(?:is|are|was|were|be|been|being|would|could|should|can|may|might|must|has|have|does|do|to|also"
    r"|really|just|seems?|looks?|feels?|sounds?|probably|likely|clearly|already|definitely|simply|fairly|quite|rather|still|much"
    r"|a|an|the|and|covers?|describes?|x+)\b[\s\"”]*+)*+"
)
"""Between a label and what is said of it: verbs and adverbs that decide nothing."""

AGENT_END = re.compile(r"\b(?:by|of|with|than)$")
"""A phrase that drops a label in favour of what follows it: `superseded by`."""

ANAPHOR = re.compile(r"the(?<!\wthe) (?:(?P<first>former|first(?: one)?)|(?P<last>latter|second(?: one)?))\b")
"""The letters stand before the word boundary, so that the search jumps to them."""

MOST_SIDES = 40
"""A longer row of labels in one sentence is a list; the sides of an argument are sought among the first of them."""


class Argument(NamedTuple):
    """The sides of one step: what it decides about `subject`, set against `other`; `topic` is what `it` refers to later."""

    verdict: str
    subject: Mention | None = None
    other: Mention | None = None
    topic: Mention | None = None


def masked(low: str, cut: Iterable[Sentence], named: Iterable[Iterable[Named]]) -> str:
    """The lowered text with the names and quotations of its sentences blotted out: no word in them is a verdict."""
    spans = [(one.mention.start, one.mention.end) for found in named for one in found]
    marked = (match for sentence in cut for match in MARKED.finditer(low, sentence.start, sentence.end))
    quotes = (match for match in marked if match.lastgroup in ("straight", "curly", "angle"))
    spans += [quote.span(quote.lastgroup or 0) for quote in quotes if not is_verdict_word(quote[quote.lastgroup or 0].strip())]
    parts, at = [], 0
    for start, end in sorted(spans):
        if end > at:
            parts += [low[at : max(start, at)], "x" * (end - max(start, at))]
            at = end
    return "".join([*parts, low[at:]])


def distinct(named: Iterable[Named]) -> list[Named]:
    """The first mention of each label."""
    first: dict[Identity, Named] = {}
    for one in named:
        if one.identity not in first:
            first[one.identity] = one
    return list(first.values())


def argument_of(text: CueText, start: int, end: int, named: Sequence[Named]) -> Argument:
    """What a span of masked text argues about the labels it names.

    The last judgement gives the verdict. It is about the label beside it (`keep vim`, `nano is out`); without one about the
    topic, the first label that is not set up as the other side.
    """
    low, named = text.low, list(named[:MOST_SIDES])
    labels = distinct(named)
    stated = stated_verdict(low, named[0].mention.end, end) if named else None
    if stated:
        return Argument(stated, named[0].mention, labels[1].mention if len(labels) > 1 else None, named[0].mention)
    found = judgements(text, start, end)
    is_comparison = has_comparison(text, start, end)
    verdict = found[-1].verdict if found else "compare" if is_comparison else "none"
    if not named:
        return Argument(verdict)
    topic, rival = _topic(text, start, labels, is_comparison)
    objects: dict[str, Named] = {}
    said = with_anaphors(low, end, named, labels) if found else ()
    for judgement in found:
        beside = _beside(low, said, judgement)
        if beside:
            objects[judgement.verdict] = beside
    subject = objects.get(verdict, topic)
    other = objects.get("drop" if verdict == "keep" else "keep") if objects else None
    if other is None or other.identity == subject.identity:
        other = rival if subject.identity == topic.identity else topic
    is_same = other is not None and other.identity == subject.identity
    return Argument(verdict, subject.mention, None if other is None or is_same else other.mention, topic.mention)


def with_anaphors(low: str, end: int, named: list[Named], pair: Sequence[Named]) -> list[Named]:
    """The labels named, and again where `the former` or `the latter` of just two (the `pair`) stands for one of them."""
    if len(pair) != 2:
        return named
    matches = islice(ANAPHOR.finditer(low, pair[1].mention.end, end), MOST_SIDES)
    said = [(match, pair[0] if match["first"] else pair[1]) for match in matches]
    meant = [one._replace(mention=one.mention._replace(start=match.start(), end=match.end())) for match, one in said]
    return sorted([*named, *meant], key=lambda one: one.mention.start)


def _topic(text: CueText, start: int, labels: list[Named], is_comparison: bool) -> tuple[Named, Named | None]:
    against = [one for one in labels if is_argued_against(text, start, one.mention.start)]
    if not against and is_comparison:
        against = labels[1:]
    topics = [one for one in labels if one not in against] or labels
    return topics[0], next((one for one in against if one is not topics[0]), None)


def _beside(low: str, named: Sequence[Named], judgement: Judgement) -> Named | None:
    """The label inside a judgement (`leave vim out`), else right after it, else right before it."""
    for one in named:
        if judgement.start <= one.mention.start and one.mention.end <= judgement.end:
            return one
    has_agent = judgement.verdict == "drop" and AGENT_END.search(low, judgement.start, judgement.end) is not None
    for one in named if not has_agent else ():
        if one.mention.start >= judgement.end and OBJECT_AFTER.fullmatch(low, judgement.end, one.mention.start):
            return one
    for one in reversed(named):
        if one.mention.end <= judgement.start and OBJECT_BEFORE.fullmatch(low, one.mention.end, judgement.start):
            return one
    return None
