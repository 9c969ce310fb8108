"""Free chain of thought: sentences to steps, labels named, verdicts, the phase boundary and the shortlist."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tasks.parsing.boundary import StepEvents, boundary_evidence, find_boundary
from tasks.parsing.cues import CONCLUDE_CUE, REFINE_CUE, decisions, has_comparison, is_argued_against, verdict_of
from tasks.parsing.drafts import Mention, StepDraft, TraceDraft
from tasks.parsing.items import trimmed
from tasks.parsing.mentions import ENUMERATION_GAP, Identity, KnownLabels, MentionFinder, Named, sure_mentions
from tasks.parsing.names import Catalogue, head_of
from tasks.parsing.sentences import Sentence, sentences

CLAUSE_BREAK = re.compile(r"[,;]\s+(?:and\s+|but\s+|while\s+|whereas\s+|yet\s+|so\s+)?|\s+(?:while|whereas|but)\s+")
OBJECT_REACH = 20
"""A decision is about the label after it (`drop nano`), unless one before it is nearer by so many characters."""

LOOSE_START = re.compile(r"(?:[\s,;]|and\s|or\s)+")
LOOSE_END = re.compile(r"(?:[\s,;]|(?<=\s)(?:and|or))+$")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that makes one step, the labels it names, and what it decides."""

    start: int
    end: int
    named: tuple[Named, ...]
    verdict: str
    concludes: bool = False


def read_reasoning(
    text: str,
    source: str,
    regions: Sequence[tuple[int, int]],
    catalogue: Catalogue,
    takes_ids: bool,
    confirmed: Iterable[Identity],
) -> TraceDraft:
    """Shortlist, steps and boundary of the reasoning in these regions of a text; the answers stay empty.

    Naming a `confirmed` label (one of the final answer) in plain text counts.
    """
    finder = MentionFinder(text, source, catalogue, takes_ids)
    cut = list(sentences(text, regions))
    named = sure_mentions(finder, cut, confirmed)
    pieces = [p for sentence, found in zip(cut, named, strict=True) for p in _pieces(text, sentence.start, sentence.end, found)]
    events = _events(text, pieces)
    boundary = find_boundary(events)
    draft = TraceDraft("prose", boundary_step=boundary, boundary_evidence_text=boundary_evidence(events, boundary))
    draft.steps = _steps(text, source, pieces, boundary)
    draft.shortlist = _shortlist(pieces, len(pieces) if boundary is None else boundary)
    return draft


def judged_step(finder: MentionFinder, start: int, end: int, known: KnownLabels) -> StepDraft:
    """One refinement step of a whole span: the labels it names and what it decides.

    Naming a `known` label (of the shortlist or the answer) in plain text counts.
    """
    sentence = Sentence(start, end, is_item=True, is_whole_line=True, is_listed=False)
    named = known.among(finder, sentence, finder.find(sentence), takes_sure=True)
    piece = Piece(start, end, tuple(named), verdict_of(finder.text, start, end))
    subject, other = _sides(finder.text, piece)
    return StepDraft(finder.source, start, end, "refine", piece.verdict, subject, other)


def _pieces(text: str, start: int, end: int, named: list[Named]) -> list[Piece]:
    """One piece a sentence; one a label where a sentence lists labels; one a clause where it decides twice."""
    verdict = verdict_of(text, start, end)
    whole = Piece(start, end, tuple(named), verdict, CONCLUDE_CUE.search(text, start, end) is not None)
    if len(named) < 2:
        return [whole]
    clauses = _deciding_clauses(text, start, end, named)
    if len(clauses) > 1 or (verdict != "none" and has_comparison(text, start, end)):
        return clauses if len(clauses) > 1 else [whole]
    return _listed_pieces(text, whole)


def _deciding_clauses(text: str, start: int, end: int, named: list[Named]) -> list[Piece]:
    """The clauses of `I keep vim, but nano is out`: cut where both sides name a label and decide."""
    pieces: list[Piece] = []
    first, left = start, list(named)
    for gap in CLAUSE_BREAK.finditer(text, start, end):
        before = [n for n in left if n.mention.end <= gap.start()]
        after = [n for n in left if n.mention.start >= gap.end()]
        if not before or not after or len(before) + len(after) < len(left):
            continue
        if any(decisions(text, first, gap.start())) and any(decisions(text, gap.end(), end)):
            pieces.append(Piece(first, gap.start(), tuple(before), verdict_of(text, first, gap.start())))
            first, left = gap.end(), after
    last = trimmed(text, first, end)
    return [*pieces, Piece(*last, tuple(left), verdict_of(text, *last))]


def _listed_pieces(text: str, whole: Piece) -> list[Piece]:
    """Cut before every label that follows the one before it as in a list; without a verdict, before every label."""
    cuts = [whole.start]
    groups = [[whole.named[0]]]
    for before, after in pairwise(whole.named):
        gap = text[before.mention.end : after.mention.start]
        if whole.verdict == "none" or ENUMERATION_GAP.fullmatch(gap):
            at = after.mention.start
            while at > before.mention.end and text[at - 1] in "\"“‘'«`*_([":
                at -= 1
            cuts.append(at)
            groups.append([after])
        else:
            groups[-1].append(after)
    spans = [_tight(text, first, last) for first, last in zip(cuts, [*cuts[1:], whole.end], strict=True)]
    return [Piece(*span, tuple(group), whole.verdict, whole.concludes) for span, group in zip(spans, groups, strict=True)]


def _tight(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without separators and joining words at its ends."""
    opening = LOOSE_START.match(text, start, end)
    start = opening.end() if opening and opening.end() < end else start
    closing = LOOSE_END.search(text, start, end)
    return start, closing.start() if closing and closing.start() > start else end


def _events(text: str, pieces: Sequence[Piece]) -> list[StepEvents]:
    seen: set[Identity] = set()
    events = []
    for piece in pieces:
        labels = {named.identity for named in piece.named}
        new = labels - seen
        has_verdict = piece.verdict in ("keep", "drop") and bool(labels or seen)
        goes_on = bool(seen) and not new and REFINE_CUE.search(text, piece.start, piece.end) is not None
        events.append(StepEvents(len(new), has_verdict or bool(labels & seen) or goes_on, has_verdict))
        seen |= labels
    return events


def _steps(text: str, source: str, pieces: Sequence[Piece], boundary: int | None) -> list[StepDraft]:
    last_verdict = max((at for at, piece in enumerate(pieces) if piece.verdict in ("keep", "drop")), default=-1)
    steps = []
    subject: Mention | None = None
    for at, piece in enumerate(pieces):
        refines = boundary is not None and at >= boundary
        concludes = refines and at > 0 and bool(piece.named) and piece.concludes
        step = StepDraft(
            source, piece.start, piece.end, "refine" if refines else "shortlist", piece.verdict if refines else "none"
        )
        step.subject, step.other = _sides(text, piece)
        if concludes and (at > last_verdict or (at == last_verdict and len(piece.named) > 1)):
            step.phase = "answer"
        if refines and step.verdict in ("keep", "drop") and step.subject is None:
            step.subject = subject
        subject = step.subject or subject
        steps.append(step)
    return steps


def _sides(text: str, piece: Piece) -> tuple[Mention | None, Mention | None]:
    """The label a step is about, and the one it is set against."""
    mentions = [named.mention for named in piece.named]
    if not mentions:
        return None, None
    decided = _decided_sides(text, piece, mentions)
    if decided:
        return decided
    against = [m for m in mentions if is_argued_against(text, piece.start, m.start)]
    if not against and len(mentions) > 1 and has_comparison(text, piece.start, piece.end):
        against = mentions[1:]
    subjects = [m for m in mentions if m not in against] or against
    return subjects[0], next((m for m in against if m is not subjects[0]), None)


def _decided_sides(text: str, piece: Piece, mentions: list[Mention]) -> tuple[Mention, Mention] | None:
    """The sides of `vim vs nano: keep vim, leave nano out`: the label kept, the label dropped; the one decided last first."""
    objects: dict[str, Mention] = {}
    places = [(at, m) for m in mentions for at in _places(text, piece, m)] if len(mentions) > 1 else []
    for start, end, verdict in decisions(text, piece.start, piece.end) if places else ():
        near = min(places, key=lambda place: (place[0] - end) if place[0] >= end else (start - place[0]) + OBJECT_REACH)
        objects[verdict] = near[1]
    kept, dropped = objects.get("keep"), objects.get("drop")
    if kept is None or dropped is None or kept is dropped:
        return None
    return (dropped, kept) if piece.verdict == "drop" else (kept, dropped)


def _places(text: str, piece: Piece, mention: Mention) -> list[int]:
    """Where a piece names the label, later plain repetitions included."""
    word = re.escape(head_of(mention.text) or mention.text)
    again = re.finditer(rf"(?<!\w){word}(?!\w)", text[mention.end : piece.end], re.IGNORECASE)
    return [mention.start, *(mention.end + match.start() for match in again)]


def _shortlist(pieces: Sequence[Piece], boundary: int) -> list[tuple[Mention, int]]:
    """Labels named before the boundary; where none are, labels named anywhere, for then both phases are one."""
    shortlist = [(named.mention, at) for at, piece in enumerate(pieces[:boundary]) for named in piece.named]
    return shortlist or [(named.mention, at) for at, piece in enumerate(pieces) for named in piece.named]
