"""The compact form of a document and its trace, which the offline decoder reads and writes: one token a label, one a word.

<document> w1 ... wN <shortlist> @a @b <refine> <drop> @b w w <keep> @a w w <answer> @a <end>
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tasks.sequences.annotated import AnnotatedText, Candidate, Refinement, Span, Unlocated
from tasks.sequences.evidence import Cited, cited_words, find_anchors
from tasks.sequences.traces import Nearest, Step, Trace
from tasks.sequences.words import Word, find_words

DOCUMENT, SHORTLIST, REFINE, ANSWER, END = "<document>", "<shortlist>", "<refine>", "<answer>", "<end>"
VERDICTS = {"keep": "<keep>", "drop": "<drop>"}
MARKS = (DOCUMENT, SHORTLIST, REFINE, VERDICTS["drop"], VERDICTS["keep"], ANSWER, END)
"""Every token that is neither a label nor a word."""

LABEL_MARK = "@"


@dataclass(frozen=True)
class CompactForm:
    """What traces are written with: a token and a name for every label, and how much of document and evidence is kept."""

    tokens: Mapping[int, str]
    names: Mapping[int, str]
    document_words: int
    evidence_words: int

    @cached_property
    def label_ids(self) -> Mapping[str, int]:
        """The label of each token."""
        return {token: label for label, token in self.tokens.items()}


def label_tokens(uids: Mapping[int, str]) -> dict[int, str]:
    """One token for each label id: `@` and the uid, its white space as `_`; equal ones are told apart by their label id."""
    plain = {label: LABEL_MARK + "_".join(uid.split()) for label, uid in uids.items()}
    counts: dict[str, int] = {}
    for token in plain.values():
        counts[token] = counts.get(token, 0) + 1
    tokens, taken = {}, {token for token, count in counts.items() if count == 1}
    for label, token in plain.items():
        if counts[token] > 1:
            token = f"{token}#{label}"
            while token in taken:
                token += "#"
            taken.add(token)
        tokens[label] = token
    return tokens


def compact_words(document_text: str, form: CompactForm) -> list[str]:
    """The words of a document that the decoder reads, folded."""
    return [word.text for word in find_words(document_text)[: form.document_words]]


def compact_prompt(document_text: str, form: CompactForm) -> str:
    """The text that a trace is generated from: the document's part."""
    return " ".join([DOCUMENT, *compact_words(document_text, form)])


@dataclass(frozen=True)
class JudgedStep:
    """Steps in a row with the same verdict on the same label, as the first of them, and what they cite together."""

    step: Step
    label_id: int
    cited: Cited


def judged_steps(trace: Trace, held: frozenset[str], names: Mapping[int, str]) -> list[JudgedStep]:
    """The refinement steps that keep or drop a linked label, in order; repetitions are one.

    Args:
        trace: the trace.
        held: the words of the document that is read, folded.
        names: label names.
    """
    found: list[JudgedStep] = []
    for step in trace.steps:
        label = step.judged_label_id
        if step.phase != "refine" or step.verdict not in VERDICTS or label is None:
            continue
        discussed = {one for one in (step.target_label_id, step.near_miss_label_id) if one is not None}
        cited = cited_words(step.text, [names[one] for one in sorted(discussed)], held)
        if found and (found[-1].label_id, found[-1].step.verdict) == (label, step.verdict):
            found[-1] = _joined(found[-1], step, cited)
        else:
            found.append(JudgedStep(step, label, cited))
    return found


def _joined(first: JudgedStep, step: Step, cited: Cited) -> JudgedStep:
    words = tuple(dict.fromkeys(first.cited.words + cited.words))
    near = first.step.near_miss_label_id if first.step.near_miss_label_id is not None else step.near_miss_label_id
    both = Cited(words, first.cited.unlocated_count + cited.unlocated_count)
    return JudgedStep(replace(first.step, near_miss_label_id=near), first.label_id, both)


class _Writer:
    """Tokens joined by spaces, and the characters each takes."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0

    def put(self, token: str) -> Span:
        start = self.length + bool(self.parts)
        self.parts.append(token)
        self.length = start + len(token)
        return Span(start, self.length)

    @property
    def text(self) -> str:
        return " ".join(self.parts)


def annotate_compact(trace: Trace, document_text: str, form: CompactForm, nearest: Nearest) -> AnnotatedText:
    """A document and its trace in compact form, with every place that the analyses need.

    Args:
        trace: a whole trace of the document.
        document_text: the document as in `core_documents`.
        form: tokens, names and lengths.
        nearest: picks the near miss of a keep step that names none.
    """
    words = find_words(document_text)[: form.document_words]
    steps = judged_steps(trace, frozenset(word.text for word in words), form.names)
    writer = _Writer()
    first = writer.put(DOCUMENT)
    placed = [Word(word.text, *_ends(writer.put(word.text))) for word in words]
    document = Span(min(first.end + 1, writer.length), writer.length)
    response_start = writer.put(SHORTLIST).start
    kept = set(trace.answer_ids)
    candidates = tuple(Candidate(label, writer.put(form.tokens[label]), label in kept) for label in trace.candidate_ids)
    refine_start = writer.put(REFINE).start
    refinements, no_near_miss_count = _write_steps(writer, trace, steps, form, nearest)
    for token in (ANSWER, *(form.tokens[label] for label in trace.answer_ids), END):
        writer.put(token)
    return AnnotatedText(
        trace.document_id,
        trace.trace_id,
        writer.text,
        document,
        _anchors(placed, steps),
        candidates,
        refinements,
        response_start,
        refine_start,
        Unlocated(
            anchor_count=sum(step.cited.unlocated_count for step in steps),
            candidate_count=sum(place.label_id is None for place in trace.shortlist),
            no_near_miss_count=no_near_miss_count,
        ),
    )


def _ends(span: Span) -> tuple[int, int]:
    return span.start, span.end


def _anchors(placed: Sequence[Word], steps: Iterable[JudgedStep]) -> tuple[Span, ...]:
    return find_anchors(placed, {word for step in steps for word in step.cited.words})


def _write_steps(
    writer: _Writer, trace: Trace, steps: Iterable[JudgedStep], form: CompactForm, nearest: Nearest
) -> tuple[tuple[Refinement, ...], int]:
    """Write the refinement steps; those that keep a label, and how many of them have no dropped label to be set against."""
    refinements, missing = [], 0
    for judged in steps:
        step = judged.step
        writer.put(VERDICTS[step.verdict])
        span = writer.put(form.tokens[judged.label_id])
        for word in judged.cited.words[: form.evidence_words]:
            writer.put(word)
        if step.verdict != "keep":
            continue
        near = trace.near_miss_of(step, nearest)
        if near is None:
            missing += 1
        else:
            refinements.append(Refinement(judged.label_id, near, span, step.step, step.position))
    return tuple(refinements), missing


@dataclass(frozen=True)
class WrittenStep:
    """A refinement step as written in compact form."""

    label_id: int
    verdict: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class WrittenTrace:
    """What a compact text says; `is_whole` is False if it breaks the form somewhere or does not end."""

    shortlist: tuple[int, ...]
    steps: tuple[WrittenStep, ...]
    answers: tuple[int, ...]
    is_whole: bool


@dataclass(frozen=True)
class SpokenStep:
    """A step of a compact text in readable form: what is embedded for Focus and Confusion."""

    phase: str
    label_id: int
    text: str


def read_compact(text: str, label_ids: Mapping[str, int]) -> WrittenTrace:
    """What a compact text says, also a malformed one: tokens where they cannot stand are passed over.

    Args:
        text: with or without the document's part; what follows `<end>` is not read.
        label_ids: label id of each label token.
    """
    tokens = text.split()
    body = tokens[: tokens.index(END)] if END in tokens else tokens
    sections = {mark: list(_section(body, mark)) for mark in (SHORTLIST, REFINE, ANSWER)}
    shortlist, answers = (_labels(sections[mark], label_ids) for mark in (SHORTLIST, ANSWER))
    steps = tuple(_steps(sections[REFINE], label_ids))
    is_whole = END in tokens and _is_whole(body, sections, label_ids, len(shortlist), len(answers), len(steps))
    return WrittenTrace(shortlist, steps, answers, is_whole)


def _section(tokens: Sequence[str], mark: str) -> Iterator[str]:
    """The tokens after a mark up to the next section; nothing if it is missing."""
    if mark in tokens:
        for token in tokens[tokens.index(mark) + 1 :]:
            if token in (DOCUMENT, SHORTLIST, REFINE, ANSWER):
                return
            yield token


def _labels(tokens: Iterable[str], label_ids: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(label_ids[token] for token in tokens if token in label_ids))


def _steps(tokens: Sequence[str], label_ids: Mapping[str, int]) -> Iterator[WrittenStep]:
    """Each verdict that a label follows, with the words up to the next verdict."""
    verdicts = {token: verdict for verdict, token in VERDICTS.items()}
    starts = [place for place, token in enumerate(tokens) if token in verdicts]
    for start, stop in zip(starts, [*starts, len(tokens)][1:], strict=True):
        label, *words = tokens[start + 1 : stop] or [""]
        if label in label_ids:
            said = tuple(word for word in words if word not in label_ids and word not in MARKS)
            yield WrittenStep(label_ids[label], verdicts[tokens[start]], said)


def _is_whole(
    body: Sequence[str],
    sections: Mapping[str, Sequence[str]],
    label_ids: Mapping[str, int],
    candidate_count: int,
    answer_count: int,
    step_count: int,
) -> bool:
    """True if the sections stand once each in order, hold what they must, and nothing was passed over."""
    order = [token for token in body if token in (SHORTLIST, REFINE, ANSWER)]
    refine = sections[REFINE]
    are_lists_clean = all(token in label_ids for mark in (SHORTLIST, ANSWER) for token in sections[mark])
    verdict_count = sum(token in VERDICTS.values() for token in refine)
    label_count = sum(token in label_ids for token in refine)
    return (
        order == [SHORTLIST, REFINE, ANSWER]
        and are_lists_clean
        and candidate_count > 0
        and answer_count > 0
        and step_count == verdict_count == label_count
        and (not refine or refine[0] in VERDICTS.values())
    )


def spoken_steps(written: WrittenTrace, names: Mapping[int, str]) -> list[SpokenStep]:
    """The steps of a compact text in order, readable: a candidate and an answer by name, a refinement by name and words.

    Args:
        written: what the text says.
        names: label names.
    """
    shortlist = [SpokenStep("shortlist", label, names[label]) for label in written.shortlist]
    refine = [SpokenStep("refine", step.label_id, " ".join([names[step.label_id], *step.words])) for step in written.steps]
    answers = [SpokenStep("answer", label, names[label]) for label in written.answers]
    return shortlist + refine + answers
