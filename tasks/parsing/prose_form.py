"""Free chain of thought: sentences to steps, labels named, verdicts, the phase boundary and the shortlist."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from tasks.parsing.arguments import MOST_SIDES, Argument, argument_of, distinct, masked
from tasks.parsing.boundary import GIVEN_EVIDENCE, StepEvents, boundary_evidence, find_boundary
from tasks.parsing.cue_search import CueText
from tasks.parsing.cues import ANSWER_CUE, CONCLUDE_CUE, REFINE_CUE, decisions, has_comparison, judgements
from tasks.parsing.drafts import Mention, StepDraft, TraceDraft
from tasks.parsing.items import trimmed
from tasks.parsing.mentions import ENUMERATION_GAP, Identity, KnownLabels, MentionFinder, Named, sure_mentions
from tasks.parsing.names import Catalogue
from tasks.parsing.sentences import Sentence, sentences

CLAUSE_BREAK = re.compile(
    r"[,;\s](?:(?<=[,;])\s+(?:and\s+|but\s+|while\s+|whereas\s+|yet\s+|so\s+)?|(?<=\s)(?<!\s\s)\s*+(?:while|whereas|but)\s+)"
)
"""Its first character stands at the head of the pattern, so that the search jumps to such characters."""
ALSO_GAP = re.compile(
    r"[\"”’'»`*_)\]]*[^,;.]{0,60}[,;]?\s+(?:and |but )?(?:so (?:is|are|does|do)|neither (?:is|are|does|do)|nor|not|just like"
    r"|likewise|(?:the )?same (?:goes |holds |is true )?for|as well as|along with)\s+[\"“‘'«`*_(\[]*"
)
"""Between two labels of one verdict: `vim is off topic, so is nano`."""

LOOSE_START = re.compile(r"(?:[\s,;]|and\s|or\s)+")
LOOSE_END = re.compile(r"(?:[\s,;]|(?<=\s)(?:and|or))+$")
LOOSE_CHARS = 80
DECIDED = ("keep", "drop")


class Piece(NamedTuple):
    """A stretch of text that makes one step: the labels it names, repeats included, and what it argues."""

    start: int
    end: int
    named: tuple[Named, ...]
    argument: Argument
    concludes: bool = False
    answers: bool = False
    """Says outright that these are the labels, so that `fitting` in it decides nothing."""


def read_reasoning(
    text: str,
    source: str,
    regions: Sequence[tuple[int, int]],
    catalogue: Catalogue,
    takes_ids: bool,
    confirmed: Iterable[Identity],
    is_given: bool = False,
) -> TraceDraft:
    """Shortlist, steps and boundary of the reasoning in these regions of a text; the answers stay empty.

    Naming a `confirmed` label (one of the final answer) in plain text counts. `is_given`: the shortlist was given to the
    teacher, so that every step refines, and what it names makes no shortlist.
    """
    bounds = min(start for start, _ in regions), max(end for _, end in regions)
    finder = MentionFinder(text, source, catalogue, takes_ids, bounds)
    cut = list(sentences(text, finder.low, regions))
    named = sure_mentions(finder, cut, confirmed)
    said = finder.cues.over(masked(finder.low, cut, named))
    pieces = [p for sentence, found in zip(cut, named, strict=True) for p in _pieces(said, sentence.start, sentence.end, found)]
    if is_given:
        draft = TraceDraft("prose", boundary_step=0 if pieces else None, boundary_evidence_text=GIVEN_EVIDENCE)
    else:
        events = _events(said, pieces)
        boundary = find_boundary(events)
        draft = TraceDraft("prose", boundary_step=boundary, boundary_evidence_text=boundary_evidence(events, boundary))
        draft.shortlist = _shortlist(pieces, len(pieces) if boundary is None else boundary)
    draft.steps = _steps(source, pieces, draft.boundary_step)
    return draft


def judged_steps(finder: MentionFinder, spans: Sequence[tuple[int, int]], known: KnownLabels) -> list[StepDraft]:
    """Refinement steps, one a span: the labels it names and what it decides.

    Naming a `known` label (of the shortlist or the answer) in plain text counts.
    """
    cut = [Sentence(start, end, is_item=True, is_whole_line=True, is_listed=False) for start, end in spans]
    named = [known.among(finder, sentence, finder.find(sentence), takes_sure=True) for sentence in cut]
    said = finder.cues.over(masked(finder.low, cut, named))
    steps = []
    for (start, end), found in zip(spans, named, strict=True):
        argument = argument_of(said, start, end, found)
        steps.append(StepDraft(finder.source, start, end, "refine", argument.verdict, argument.subject, argument.other))
    return steps


def _pieces(text: CueText, start: int, end: int, named: list[Named]) -> list[Piece]:
    """One piece a sentence; one a label where a sentence lists labels; one a clause where it decides twice."""
    concludes = text.search(CONCLUDE_CUE, start, end) is not None
    answers = text.search(ANSWER_CUE, start, end) is not None
    whole = Piece(start, end, tuple(named), argument_of(text, start, end, named), concludes or answers, answers)
    if len({one.identity for one in named}) < 2:
        return [whole]
    clauses = _deciding_clauses(text, whole) if len(named) <= MOST_SIDES else []
    if clauses:
        return clauses
    is_argued = whole.argument.other is not None and len(named) <= MOST_SIDES
    return [whole] if is_argued else _listed_pieces(text, whole)


def _deciding_clauses(text: CueText, whole: Piece) -> list[Piece]:
    """The clauses of `I keep vim, but nano is out`: cut where both sides decide, about labels of their own; else none."""
    pieces: list[Piece] = []
    first, left = whole.start, list(whole.named)
    decides = decisions if has_comparison(text, whole.start, whole.end) else judgements
    for gap in CLAUSE_BREAK.finditer(text.low, whole.start, whole.end):
        if left[0].mention.end > gap.start() or left[-1].mention.start < gap.end():
            continue  # no label on one side
        before = [one for one in left if one.mention.end <= gap.start()]
        after = left[len(before) :]
        is_apart = {one.identity for one in before}.isdisjoint(one.identity for one in after)
        if not is_apart or after[0].mention.start < gap.end():
            continue
        if decides(text, first, gap.start()) and decides(text, gap.end(), whole.end):
            pieces.append(_piece(text, first, gap.start(), before))
            first, left = gap.end(), after
    if not pieces:
        return []
    return [*pieces, _piece(text, *trimmed(text.low, first, whole.end), left)]


def _piece(text: CueText, start: int, end: int, named: Sequence[Named]) -> Piece:
    return Piece(start, end, tuple(named), argument_of(text, start, end, named))


def _listed_pieces(text: CueText, whole: Piece) -> list[Piece]:
    """Cut before every label that follows another as in a list; in a sentence without a verdict, before every label."""
    verdict = "none" if whole.answers else whole.argument.verdict
    cuts = [whole.start]
    groups = [[whole.named[0]]]
    for before, after in pairwise(whole.named):
        between = before.mention.end, after.mention.start
        is_next = verdict == "none" or ENUMERATION_GAP.fullmatch(text.low, *between) or ALSO_GAP.fullmatch(text.low, *between)
        if after.identity == before.identity or not is_next:
            groups[-1].append(after)
            continue
        at = after.mention.start
        while at > before.mention.end and text.low[at - 1] in "\"“‘'«`*_([":
            at -= 1
        cuts.append(at)
        groups.append([after])
    spans = [_tight(text.low, first, last) for first, last in zip(cuts, [*cuts[1:], whole.end], strict=True)]
    return [
        Piece(*span, tuple(group), Argument(verdict, group[0].mention, None, group[0].mention), whole.concludes, whole.answers)
        for span, group in zip(spans, groups, strict=True)
    ]


def _tight(low: str, start: int, end: int) -> tuple[int, int]:
    """The span without separators and joining words at its ends."""
    opening = LOOSE_START.match(low, start, end)
    start = opening.end() if opening and opening.end() < end else start
    closing = LOOSE_END.search(low, max(start, end - LOOSE_CHARS), end)
    return start, closing.start() if closing and closing.start() > start else end


def _events(text: CueText, pieces: Sequence[Piece]) -> list[StepEvents]:
    seen: set[Identity] = set()
    events = []
    for piece in pieces:
        labels = {one.identity for one in piece.named}
        new = labels - seen
        has_verdict = piece.argument.verdict in DECIDED and bool(labels or seen)
        goes_on = bool(seen) and not new and text.search(REFINE_CUE, piece.start, piece.end) is not None
        events.append(StepEvents(len(new), has_verdict or bool(labels & seen) or goes_on, has_verdict))
        seen |= labels
    return events


def _steps(source: str, pieces: Sequence[Piece], boundary: int | None) -> list[StepDraft]:
    last_verdict = max((at for at, piece in enumerate(pieces) if piece.argument.verdict in DECIDED), default=-1)
    steps = []
    topic: Mention | None = None
    rival: Mention | None = None
    for at, piece in enumerate(pieces):
        argument = piece.argument
        if argument.topic is None and argument.verdict in DECIDED:
            argument = argument._replace(subject=topic, other=rival)
        elif argument.topic is not None:
            topic = argument.topic
            rival = argument.other if argument.subject is topic else argument.subject
        refines = boundary is not None and at >= boundary
        concludes = refines and at > 0 and bool(piece.named) and piece.concludes
        is_last = at > last_verdict or (at == last_verdict and (piece.answers or len(distinct(piece.named)) > 1))
        phase = "answer" if concludes and is_last else "refine" if refines else "shortlist"
        verdict = argument.verdict if refines else "none"
        steps.append(StepDraft(source, piece.start, piece.end, phase, verdict, argument.subject, argument.other))
    return steps


def _shortlist(pieces: Sequence[Piece], boundary: int) -> list[tuple[Mention, int]]:
    """Labels named before the boundary; where none are, labels named anywhere, for then both phases are one."""
    shortlist = [(one.mention, at) for at, piece in enumerate(pieces[:boundary]) for one in piece.named]
    return shortlist or [(one.mention, at) for at, piece in enumerate(pieces) for one in piece.named]
