"""What decoder students are taught: documents and traces as the teacher reads them, the same for every method and seed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool

from schemas.errors import TrainingError
from schemas.selections import whole_traces
from tasks.open_models.lessons import NO_PHASE, PHASES, Lesson, make_lesson
from tasks.sequences.compact import ANSWER
from tasks.sequences.tokens import Tokens, TokenSequence
from tasks.sequences.traces import TraceTables

MIN_DOCUMENTS = 20
"""Fewer usable traces than this are not trained on."""

DRAW_SEED = 0
"""Draws who is trained on: never a setting, so that students of all seeds have the same documents."""


@dataclass(frozen=True)
class Split:
    """Ids of documents that are trained on and that are kept for development, each in the order drawn."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    left_out_count: int


def usable_documents(tables: TraceTables) -> set[str]:
    """Train documents with a whole trace that names a candidate and an answer that link."""
    traces = whole_traces(tables.traces).filter(pl.col("split") == "train")
    for part in (tables.shortlist, tables.answers):
        traces = traces.join(part.filter(pl.col("label_id").is_not_null()), on="trace_id", how="semi")
    return set(traces["document_id"])


def split_documents(usable: Collection[str], held_out: Collection[str], dev_frac: float, most: int) -> Split:
    """Which train documents are trained on.

    Args:
        usable: train documents with a whole trace that names a candidate and an answer.
        held_out: those that the teacher was not trained on; they are kept for development.
        dev_frac: share that is kept at least.
        most: documents that the training can see once; more are not taken.

    Raises:
        TrainingError: there are fewer than 20.
    """
    if len(usable) < MIN_DOCUMENTS:
        raise TrainingError(
            f"decoder students: {len(usable)} train documents have a whole trace with a candidate and an answer that link, "
            f"{MIN_DOCUMENTS} are needed; trace more documents, or look at core_rejects"
        )
    known = sorted(usable)
    drawn = [known[place] for place in np.random.default_rng(DRAW_SEED).permutation(len(known))]
    kept = set(held_out)
    first, others = [one for one in drawn if one in kept], [one for one in drawn if one not in kept]
    more = max(max(round(dev_frac * len(known)), 1) - len(first), 0)
    dev, train = (*first, *others[:more]), tuple(others[more:])
    if not train:
        raise TrainingError(
            f"decoder students: all {len(known)} usable train documents are kept for development, so none is left to train on; "
            "lower decoder.dev_frac and decoder_students.dev_frac"
        )
    return Split(train[:most], dev, max(len(train) - most, 0))


@dataclass(frozen=True)
class Reader:
    """How sequences become lessons.

    Attributes:
        marks: id of every token, if sequences are in compact form; null: a chat model's text.
        unknown_id: of tokens that are not learnt; -1 if there are none.
        end_id: ends a chat model's text; null: nothing does.
        max_tokens: longest sequence.
    """

    marks: Mapping[str, int] | None
    unknown_id: int
    end_id: int | None
    max_tokens: int

    def trace(self, sequence: TokenSequence) -> Lesson:
        """Document and whole trace; every token of the trace is learnt."""
        if self.marks is not None:
            return make_lesson(sequence.token_ids.tolist(), self.marks, self.unknown_id)
        ids = self._ended(sequence)
        phases = np.where(np.arange(len(ids)) < sequence.refine_start, PHASES.index("shortlist"), PHASES.index("refine"))
        return Lesson(ids, np.where(self._is_learnt(ids, sequence.response_start), phases, NO_PHASE))

    def answers(self, sequence: TokenSequence) -> Lesson:
        """Document and final answers; where there are none, as in a trace that is cut off before them, nothing is learnt.

        Args:
            sequence: a trace in compact form, whose answers are taken out of it; of a chat model's text the answers alone.
        """
        ids, start = sequence.token_ids, sequence.response_start
        if self.marks is not None:
            begun = np.flatnonzero(ids == self.marks[ANSWER])
            ids = np.concatenate([ids[:start], ids[begun[0] :] if len(begun) else ids[:0]])
        elif len(ids) > start:
            ids = self._ended(sequence)
        return Lesson(ids, np.where(self._is_learnt(ids, start), PHASES.index("answer"), NO_PHASE))

    def _ended(self, sequence: TokenSequence) -> Tokens:
        """A chat model's text with the token that ends it, unless it is cut off."""
        ids = sequence.token_ids
        return ids if self.end_id is None or len(ids) >= self.max_tokens else np.append(ids, self.end_id)

    def _is_learnt(self, ids: Tokens, start: int) -> Bool[np.ndarray, " token"]:
        is_learnt: Bool[np.ndarray, " token"] = (np.arange(len(ids)) >= start) & (ids != self.unknown_id)
        return is_learnt

    def lessons(self, sequences: Sequence[TokenSequence], has_trace: bool) -> list[Lesson]:
        """Lessons of some sequences: their traces, or their answers alone."""
        return [self.trace(one) if has_trace else self.answers(one) for one in sequences]


@dataclass(frozen=True)
class Lessons:
    """What a student is taught and measured on; places in `train` are those of the documents.

    Attributes:
        train: one lesson a document.
        dev: the same of development documents.
        lengths: tokens of each train document with its whole trace: what batches are drawn by, whatever a method learns of it.
        pad_id: stands where there is no token.
    """

    train: Sequence[Lesson]
    dev: Sequence[Lesson]
    lengths: Sequence[int]
    pad_id: int

    @property
    def empty_count(self) -> int:
        """Train documents of which nothing is learnt: what a method learns is not in their trace, or is cut off."""
        return sum(not (lesson.phases != NO_PHASE).any() for lesson in self.train)
