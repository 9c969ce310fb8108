"""Answers written as JSON: `shortlist`, `steps`, `answer`. Spans quote the raw text, escapes included."""

import math
import re
from collections.abc import Iterator

from tasks.parsing.cues import named_verdict
from tasks.parsing.drafts import Mention, StepDraft, TraceDraft
from tasks.parsing.json_scanner import Node, scan_json
from tasks.parsing.mentions import KnownLabels, MentionFinder
from tasks.parsing.names import Catalogue
from tasks.parsing.parts import PARTS, best_parts
from tasks.parsing.prose_form import judged_steps
from tasks.parsing.sentences import sentences

SHORTLIST_KEYS = ("shortlist", "candidates", "candidate_labels", "shortlisted")
STEP_KEYS = ("steps", "reasoning", "refinement", "analysis", "evaluation")
ANSWER_KEYS = ("answer", "answers", "labels", "final_answer", "final_labels", "final", "selected", "output")
LABEL_KEYS = ("label", "name", "title", "label_name", "candidate", "text")
ID_KEYS = ("id", "label_id", "number", "index")
RIVAL_KEYS = ("compared_to", "compared_with", "rival", "versus", "near_miss")
SCORE_KEYS = ("confidence", "score", "probability", "certainty")
VERDICT_KEYS = ("verdict", "decision", "action", "keep")
REASON_KEYS = ("reason", "explanation", "text", "why")
KEYS = dict(zip(PARTS, (SHORTLIST_KEYS, STEP_KEYS, ANSWER_KEYS), strict=True))
KNOWN_KEY = re.compile(r'"\s*+(?:' + "|".join(SHORTLIST_KEYS + STEP_KEYS + ANSWER_KEYS) + r')\s*+"\s*+:', re.IGNORECASE)
BARE_ARRAY = re.compile(r"\s*+(?:```\w*+\s*+)?(?=\[\s*+[\"{])")
ESCAPED_BREAK = re.compile(r"(?:\\[nrt])+")
SOURCE = "completion_text"


def find_answer(text: str, start: int, end: int) -> Node | None:
    """The answer in the text's JSON objects, as one object with the keys of `PARTS`; else a bare array of labels."""
    pieces = [_parts(node) for node in answer_objects(text, start, end)]
    parts = best_parts([piece for piece in pieces if not all(part.is_empty for part in piece.values())])
    if not parts:
        parts = _bare_array(text, start, end) or next(iter(pieces), {})
    if not parts:
        return None
    return Node(dict(parts), min(part.start for part in parts.values()), max(part.end for part in parts.values()))


def answer_objects(text: str, start: int, end: int) -> Iterator[Node]:
    """The JSON objects in the text that have one of our keys, whole or cut off, in order; none inside another."""
    known = KNOWN_KEY.search(text, start, end)
    at = text.find("{", start, end)
    while known and at >= 0:
        if at > known.start():
            known = KNOWN_KEY.search(text, at, end)
            continue
        node = scan_json(text, at, end)
        yield from _outermost(node)
        at = text.find("{", max(node.end, at + 1), end)


def _outermost(node: Node) -> Iterator[Node]:
    if any(key in node.fields for keys in KEYS.values() for key in keys):
        yield node
        return
    for inner in (*node.fields.values(), *node.items):
        yield from _outermost(inner)


def _parts(node: Node) -> dict[str, Node]:
    return {name: _part(node, keys) for name, keys in KEYS.items() if any(key in node.fields for key in keys)}


def _bare_array(text: str, start: int, end: int) -> dict[str, Node]:
    """`["vim", "emacs"]`, alone or in a fence, as a final answer."""
    match = BARE_ARRAY.match(text, start, end)
    return {"answer": scan_json(text, match.end(), end)} if match else {}


def read_json_answer(text: str, node: Node, catalogue: Catalogue, takes_ids: bool) -> TraceDraft:
    """The draft of a JSON answer; a part that is missing stays empty."""
    draft = TraceDraft("json")
    for item in _part(node, SHORTLIST_KEYS).items:
        mention = _mention(item, catalogue, takes_ids)
        if mention:
            draft.shortlist.append((mention, len(draft.steps)))
            draft.steps.append(StepDraft(SOURCE, item.start, item.end, "shortlist", subject=mention))
    answer = _part(node, ANSWER_KEYS)
    answers = [(item, _mention(item, catalogue, takes_ids)) for item in answer.items or [answer]]
    draft.answers = [mention for _, mention in answers if mention]
    draft.answers_none = answer.value == []
    known = KnownLabels(catalogue.identity(m.text, m.link) for m in [*(m for m, _ in draft.shortlist), *draft.answers])
    draft.steps += _steps(text, _part(node, STEP_KEYS), catalogue, takes_ids, known)
    draft.steps += [StepDraft(SOURCE, item.start, item.end, "answer", subject=mention) for item, mention in answers if mention]
    return draft


def _part(node: Node, keys: tuple[str, ...]) -> Node:
    for key in keys:
        if key in node.fields:
            return node.fields[key]
    return Node(None, node.start, node.start)


def _mention(item: Node, catalogue: Catalogue, takes_ids: bool) -> Mention | None:
    named = _part(item, LABEL_KEYS) if item.fields else item
    number = _part(item, ID_KEYS) if takes_ids else Node(None, 0, 0)
    if not named.text.strip():
        named = number
    text = named.text
    if not text.strip() or named.end <= named.start:
        return None
    by_id = catalogue.lookup_id(number.text) if number.text else None
    return Mention(text, SOURCE, named.start, named.end, by_id or catalogue.lookup(text, takes_ids), score=_score(item))


def _score(item: Node) -> float | None:
    """The stated confidence, 0 to 1; percentages are divided, anything else is none."""
    value = _part(item, SCORE_KEYS).value
    if isinstance(value, str):
        try:
            value = float(value.strip().rstrip("%"))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, float) or not math.isfinite(value):
        return None
    value = value / 100 if 1 < value <= 100 else value
    return value if 0 <= value <= 1 else None


def _steps(text: str, steps: Node, catalogue: Catalogue, takes_ids: bool, known: KnownLabels) -> list[StepDraft]:
    """Objects as they are; strings as sentences, in the raw text between its escaped line breaks."""
    if not steps.items:
        finder = MentionFinder(text, SOURCE, catalogue, takes_ids)
        return judged_steps(finder, _sentence_spans(finder, steps), known) if steps.text else []
    objects = [_structured_step(item, catalogue, takes_ids) for item in steps.items if item.fields]
    spans = [(item.start, item.end) for item in steps.items if item.text.strip()]
    written = judged_steps(MentionFinder(text, SOURCE, catalogue, takes_ids), spans, known) if spans else []
    return sorted([*objects, *written], key=lambda step: step.start)


def _sentence_spans(finder: MentionFinder, item: Node) -> list[tuple[int, int]]:
    gaps = [(gap.start(), gap.end()) for gap in ESCAPED_BREAK.finditer(finder.text, item.start, item.end)]
    starts = [item.start, *(end for _, end in gaps)]
    lines = list(zip(starts, [*(start for start, _ in gaps), item.end], strict=True))
    return [(sentence.start, sentence.end) for sentence in sentences(finder.text, finder.low, lines)]


def _structured_step(item: Node, catalogue: Catalogue, takes_ids: bool) -> StepDraft:
    stated = _part(item, VERDICT_KEYS)
    word = str(stated.value) if isinstance(stated.value, bool) else stated.text
    verdict = named_verdict(word) if word.strip() else named_verdict(_part(item, REASON_KEYS).text)
    rival = _mention(_part(item, RIVAL_KEYS), catalogue, takes_ids)
    return StepDraft(SOURCE, item.start, item.end, "refine", verdict, _mention(item, catalogue, takes_ids), rival)
