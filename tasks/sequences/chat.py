"""Document and trace as a Hugging Face chat model would have read and written them, with every place shifted into that text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.errors import ModelRefusedError
from tasks.sequences.annotated import AnnotatedText, Candidate, Refinement, Span, Unlocated
from tasks.sequences.evidence import cited_words, find_anchors
from tasks.sequences.traces import Nearest, Place, Step, Trace
from tasks.sequences.words import find_words, name_forms, places_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DOCUMENT_FIELD = "{document}"
MARKER = "xQ7uZ3kVw9"
"""A message that no template holds: shows where the user's message begins."""


@dataclass(frozen=True)
class Prompt:
    """What stands before a response, and where the document stands in it."""

    text: str
    document: Span


@dataclass(frozen=True)
class Response:
    """What the teacher wrote, as in `raw_traces`."""

    reasoning_text: str | None
    completion_text: str | None

    @property
    def text(self) -> str:
        """Reasoning and completion, a newline between them."""
        return "\n".join(part for part in (self.reasoning_text, self.completion_text) if part is not None)

    def shift_of(self, source: str) -> int:
        """Where one of the two columns begins in the text."""
        is_second = source == "completion_text" and self.reasoning_text is not None
        return len(self.reasoning_text or "") + 1 if is_second else 0


def render_prompt(tokenizer: "PreTrainedTokenizerBase", prompt_text: str, document_text: str) -> Prompt:
    """The prompt of a document: in the tokenizer's chat template as the user's message if it has one, else as it is.

    Raises:
        ModelRefusedError: the chat template changes the message, so that the document cannot be found in it.
    """
    before, _, after = prompt_text.partition(DOCUMENT_FIELD)
    message = before + document_text + after
    if not tokenizer.chat_template:
        return Prompt(message, Span(len(before), len(before) + len(document_text)))
    text, marked = _as_user(tokenizer, message), _as_user(tokenizer, MARKER)
    body = message.strip()
    start = marked.find(MARKER)
    is_trimmed = not text.startswith(message, start)
    if start < 0 or (is_trimmed and not text.startswith(body, start)):
        raise ModelRefusedError(
            f"the chat template of {tokenizer.name_or_path!r} does not hold the user's message as it was given, so nothing in "
            "it can be located; remove the template from the tokenizer's folder, or change heads.prompt_text"
        )
    lead = len(message) - len(message.lstrip()) if is_trimmed else 0
    length = len(body) if is_trimmed else len(message)
    first, last = len(before) - lead, len(before) + len(document_text) - lead
    return Prompt(text, Span(start + max(first, 0), start + min(last, length)))


def _as_user(tokenizer: "PreTrainedTokenizerBase", message: str) -> str:
    messages = [{"role": "user", "content": message}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def annotate_chat(trace: Trace, prompt: Prompt, response: Response, names: Mapping[int, str], nearest: Nearest) -> AnnotatedText:
    """A document and its trace as a chat model has them, with every place that the analyses need.

    Args:
        trace: a whole trace of the document.
        prompt: the document's prompt.
        response: the trace as the teacher wrote it.
        names: label names.
        nearest: picks the near miss of a keep step that names none.
    """
    text = prompt.text + response.text
    anchors, unlocated_words = _find_anchors(trace, text[prompt.document.start : prompt.document.end], prompt, names)
    unlinked_count = sum(place.label_id is None for place in trace.shortlist)
    steps = [step for step in trace.steps if step.phase == "refine"]
    refinements, counts = _refinements(trace, prompt, response, names, nearest)
    return AnnotatedText(
        trace.document_id,
        trace.trace_id,
        text,
        prompt.document,
        anchors,
        _candidates(trace, prompt, response),
        refinements,
        len(prompt.text),
        _span_of(steps[0], prompt, response).start if steps else len(text),
        Unlocated(unlocated_words, unlinked_count, counts.unlocated, counts.without_near_miss),
    )


def annotate_answers(trace: Trace, prompt: Prompt, section: str) -> AnnotatedText:
    """A document and its final answers, as a chat model that does not reason would have written them; it has no other place.

    Args:
        trace: a whole trace of the document.
        prompt: the document's prompt.
        section: the answers as the teacher wrote them; empty: there is nothing after the prompt.
    """
    text = prompt.text + section
    return AnnotatedText(
        trace.document_id, trace.trace_id, text, prompt.document, (), (), (), len(prompt.text), refine_start=len(text)
    )


def _span_of(place: Place | Step, prompt: Prompt, response: Response) -> Span:
    shift = len(prompt.text) + response.shift_of(place.source)
    return Span(place.start + shift, place.end + shift)


def _find_anchors(trace: Trace, document_text: str, prompt: Prompt, names: Mapping[int, str]) -> tuple[tuple[Span, ...], int]:
    """Anchors in the whole text, and how many quoted words the document does not hold."""
    words = find_words(document_text)
    held = frozenset(word.text for word in words)
    cited: set[str] = set()
    unlocated = 0
    for step in trace.steps:
        discussed = [one for one in (step.target_label_id, step.near_miss_label_id) if one is not None]
        found = cited_words(step.text, [names[label] for label in discussed], held)
        cited.update(found.words)
        unlocated += found.unlocated_count
    shift = prompt.document.start
    return tuple(Span(span.start + shift, span.end + shift) for span in find_anchors(words, cited)), unlocated


def _candidates(trace: Trace, prompt: Prompt, response: Response) -> tuple[Candidate, ...]:
    """The first mention of each label of the shortlist."""
    kept = set(trace.answer_ids)
    first: dict[int, Candidate] = {}
    for place in trace.shortlist:
        if place.label_id is not None and place.label_id not in first:
            first[place.label_id] = Candidate(place.label_id, _span_of(place, prompt, response), place.label_id in kept)
    return tuple(first.values())


@dataclass(frozen=True)
class _Missing:
    unlocated: int
    without_near_miss: int


def _refinements(
    trace: Trace, prompt: Prompt, response: Response, names: Mapping[int, str], nearest: Nearest
) -> tuple[tuple[Refinement, ...], _Missing]:
    """The keep steps that name their target, and how many do not, or have no dropped label to be set against."""
    mentions = _mentions(trace)
    found, unlocated, without = [], 0, 0
    for step in trace.steps:
        target = step.target_label_id
        if step.phase != "refine" or step.verdict != "keep" or target is None:
            continue
        inside = find_name(step.text, [*mentions.get(target, ()), names[target]])
        near = trace.near_miss_of(step, nearest)
        if inside is None:
            unlocated += 1
        elif near is None:
            without += 1
        else:
            start = _span_of(step, prompt, response).start
            span = Span(start + inside.start, start + inside.end)
            found.append(Refinement(target, near, span, step.step, step.position))
    return tuple(found), _Missing(unlocated, without)


def _mentions(trace: Trace) -> dict[int, list[str]]:
    """How the trace writes each of its labels."""
    mentions: dict[int, list[str]] = {}
    for place in (*trace.shortlist, *trace.answers):
        if place.label_id is not None:
            mentions.setdefault(place.label_id, []).append(place.mention_text)
    return mentions


def find_name(text: str, names: Sequence[str]) -> Span | None:
    """Where one of a label's names first stands in a text, compared word by word in one case; longer forms go first."""
    words = find_words(text)
    forms = sorted((form for name in names for form in name_forms(name)), key=len, reverse=True)
    for form in forms:
        places = places_of(form, words)
        if places:
            return Span(words[places[0]].start, words[places[0] + len(form) - 1].end)
    return None
