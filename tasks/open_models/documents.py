"""Documents and their traces as one model reads them: which are taken, as token sequences, and what could not be located."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import polars as pl

from schemas.selections import whole_traces
from tasks.open_models.models import LoadedModel
from tasks.sequences.annotated import AnnotatedText, Unlocated
from tasks.sequences.answer_section import Reason, Unseparable, find_answer_section
from tasks.sequences.chat import Response, annotate_answers, annotate_chat, render_prompt
from tasks.sequences.compact import CompactForm, annotate_compact
from tasks.sequences.tokens import TokenSequence, tokenize
from tasks.sequences.traces import Nearest, Trace, TraceTables, read_traces

Annotate = Callable[[Trace], AnnotatedText]


def draw_documents(traces: pl.DataFrame, split: str, count: int, seed: int, allowed: Iterable[str] | None = None) -> list[str]:
    """Documents of a split with a whole trace, drawn without replacement; in the order drawn.

    Args:
        traces: `core_traces`.
        split: `train` or `test`.
        count: how many, fewer if there are no more.
        seed: draws them.
        allowed: only these, if given.
    """
    known = set(whole_traces(traces).filter(pl.col("split") == split)["document_id"])
    chosen = sorted(known if allowed is None else known & set(allowed))
    return [chosen[place] for place in np.random.default_rng(seed).permutation(len(chosen))[:count]]


@dataclass(frozen=True)
class Texts:
    """What documents and traces are read from; `traces` may hold more than is asked for."""

    documents: Mapping[str, str]
    names: Mapping[int, str]
    traces: TraceTables
    nearest: Nearest

    def of(self, document_ids: Iterable[str]) -> TraceTables:
        """The rows of some documents' traces."""
        chosen = pl.DataFrame({"document_id": sorted(document_ids)}, schema={"document_id": pl.String})
        parts = (self.traces.traces, self.traces.shortlist, self.traces.steps, self.traces.answers)
        return TraceTables(*(part.join(chosen, on="document_id", how="semi") for part in parts))


def compact_annotation(texts: Texts, form: CompactForm) -> Annotate:
    """Traces as the decoder that is trained here reads them."""
    return lambda trace: annotate_compact(trace, texts.documents[trace.document_id], form, texts.nearest)


def chat_annotation(texts: Texts, loaded: LoadedModel, prompt_text: str, responses: Mapping[str, Response]) -> Annotate:
    """Traces as the model of a folder would have written them itself, after its own prompt.

    Args:
        texts: documents and labels.
        loaded: its tokenizer's chat template is put around the prompt.
        prompt_text: what stands before a trace.
        responses: by trace id, as the teacher wrote them.
    """

    def annotate(trace: Trace) -> AnnotatedText:
        prompt = render_prompt(loaded.tokenizer, prompt_text, texts.documents[trace.document_id])
        return annotate_chat(trace, prompt, responses[trace.trace_id], texts.names, texts.nearest)

    return annotate


@dataclass(frozen=True)
class ReadDocuments:
    """Token sequences in the order asked for, and what was not located in them."""

    sequences: tuple[TokenSequence, ...]
    unlocated: Unlocated
    cut_count: int


def read_documents(
    document_ids: Sequence[str], texts: Texts, annotate: Annotate, loaded: LoadedModel, written: Mapping[int, str]
) -> ReadDocuments:
    """The first whole trace of each document as tokens.

    Args:
        document_ids: which, in which order.
        texts: documents and traces.
        annotate: traces to text with places.
        loaded: its tokenizer and longest sequence.
        written: what the model would write for a label.

    Raises:
        ModelRefusedError: the tokenizer gives no offsets, or its chat template hides the document.
    """
    annotated = {name: annotate(trace) for name, trace in _first_traces(document_ids, texts)}
    chosen = [annotated[name] for name in document_ids]
    sequences = tuple(tokenize(one, loaded.tokenizer, loaded.max_tokens, written) for one in chosen)
    counts = (
        np.array([astuple(one.unlocated) for one in chosen], dtype=np.int64).reshape(-1, len(astuple(Unlocated()))).sum(axis=0)
    )
    return ReadDocuments(sequences, Unlocated(*counts.tolist()), sum(one.cut_count for one in sequences))


@dataclass(frozen=True)
class ReadAnswers:
    """Token sequences of documents and their final answers alone, in the order asked for.

    Attributes:
        sequences: those of `unseparable` traces are the prompt and no more.
        unseparable: traces whose answers are no part of their own, by reason.
    """

    sequences: tuple[TokenSequence, ...]
    unseparable: Mapping[Reason, int]


def read_answers(
    document_ids: Sequence[str], texts: Texts, loaded: LoadedModel, prompt_text: str, responses: Mapping[str, Response]
) -> ReadAnswers:
    """The final answers of each document's first whole trace, as the model of a folder would have written them without the trace.

    Args:
        document_ids: which, in which order.
        texts: documents and traces.
        loaded: its tokenizer and longest sequence.
        prompt_text: what stands before an answer.
        responses: by trace id, as the teacher wrote them.

    Raises:
        ModelRefusedError: the tokenizer gives no offsets, or its chat template hides the document.
    """
    missing, sequences = Counter[Reason](), dict[str, TokenSequence]()
    for name, trace in _first_traces(document_ids, texts):
        section = find_answer_section(trace, responses[trace.trace_id])
        if isinstance(section, Unseparable):
            missing[section.reason] += 1
            section = ""
        prompt = render_prompt(loaded.tokenizer, prompt_text, texts.documents[name])
        sequences[name] = tokenize(annotate_answers(trace, prompt, section), loaded.tokenizer, loaded.max_tokens, texts.names)
    return ReadAnswers(tuple(sequences[name] for name in document_ids), missing)


def _first_traces(document_ids: Sequence[str], texts: Texts) -> Iterator[tuple[str, Trace]]:
    """One trace a document, with the document's id; of several traces the first in the table."""
    seen: set[str] = set()
    for trace in read_traces(texts.of(document_ids)):
        if trace.document_id not in seen:
            seen.add(trace.document_id)
            yield trace.document_id, trace
