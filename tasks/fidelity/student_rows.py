"""What is kept of one student's work, as frames: what it wrote and ranked, and which simulators are right of it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from jaxtyping import Int

from tasks.fidelity.simulators import Kernel, Simulated, mask_labels, name_words, simulate
from tasks.open_models.read_out import (
    Speaker,
    Writing,
    draw_traces,
    is_whole,
    next_labels,
    rank_labels,
    rationale,
    until_answer,
    write_traces,
)
from tasks.sequences.compact import read_compact

WRITTEN: dict[str, pl.DataType] = {
    "document_id": pl.String(),
    "written_text": pl.String(),
    "is_whole": pl.Boolean(),
    "label_id": pl.List(pl.Int32()),
    "score": pl.List(pl.Float64()),
}
"""A row a document; labels best first."""


@dataclass(frozen=True)
class WritingTask:
    """Documents that every student writes of, in order: the document's part of the compact text, and pairs to leave out."""

    document_ids: tuple[str, ...]
    prompts: tuple[list[int], ...]
    filtered: Mapping[str, Collection[int]]
    label_ids: Mapping[str, int]
    prediction_count: int
    writing: Writing

    @property
    def spare_count(self) -> int:
        """Labels that must be ranked besides, so that enough are left where some are left out."""
        return max((len(labels) for labels in self.filtered.values()), default=0)

    def keep(self, place: int, ranked: Iterable[tuple[int, float]]) -> tuple[list[int], list[float]]:
        """Labels and scores of the document at a place that are not left out, as many as are kept."""
        barred = self.filtered.get(self.document_ids[place], ())
        kept = [pair for pair in ranked if pair[0] not in barred][: self.prediction_count]
        return [label for label, _ in kept], [score for _, score in kept]


def write_and_rank(speaker: Speaker, task: WritingTask, read_out: str) -> pl.DataFrame:
    """What a student writes of every document and how it ranks labels; rows of `WRITTEN`.

    Pairs that are left out of rankings take no place in them.

    Args:
        speaker: the student.
        task: the documents.
        read_out: `written`: the answers as written, then the distribution at the first answer position; `next`: that alone.
    """
    written = write_traces(speaker, task.prompts, task.writing)
    contexts = [[[*prompt, *until_answer(one.token_ids, speaker)]] for prompt, one in zip(task.prompts, written, strict=True)]
    following = next_labels(speaker, contexts, task.prediction_count + task.spare_count, task.writing.batch_size)
    rows = []
    for place, (document, one) in enumerate(zip(task.document_ids, written, strict=True)):
        text = speaker.text(one.token_ids)
        said = read_compact(text, task.label_ids)
        answers = said.answers if read_out == "written" else ()
        ranked = rank_labels(answers, following.label_ids[place].tolist(), following.nats[place].tolist())
        keeps_form = one.is_free and is_whole(text, said, speaker.has_trace)
        rows.append((document, text, keeps_form, *task.keep(place, ranked)))
    return pl.DataFrame(rows, schema=pl.Schema(WRITTEN), orient="row")


def draw_and_rank(speaker: Speaker, task: WritingTask, count: int) -> pl.DataFrame:
    """How a student ranks labels by their mean probability after traces that are drawn; rows of `WRITTEN` without a text.

    Source: Wang et al. 2022, arXiv:2203.11171 (self-consistency), with probabilities in place of votes.

    Args:
        speaker: the student.
        task: the documents.
        count: traces a document.
    """
    drawn = draw_traces(speaker, task.prompts, task.writing, count)
    contexts = [
        [[*prompt, *until_answer(one, speaker)] for one in some] for prompt, some in zip(task.prompts, drawn, strict=True)
    ]
    following = next_labels(speaker, contexts, task.prediction_count + task.spare_count, task.writing.batch_size)
    rows = [
        (document, *task.keep(place, zip(following.label_ids[place].tolist(), following.nats[place].tolist(), strict=True)))
        for place, document in enumerate(task.document_ids)
    ]
    kept = {name: WRITTEN[name] for name in ("document_id", "label_id", "score")}
    return pl.DataFrame(rows, schema=pl.Schema(kept), orient="row")


def prediction_rows(written: pl.DataFrame) -> pl.DataFrame:
    """`document_id`, `rank`, `label_id` and `score`, a row a label."""
    lists = written.select("document_id", "label_id", "score").filter(pl.col("label_id").list.len() > 0)
    rows = lists.explode("label_id", "score")
    return rows.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("document_id"))


def first_labels(written: pl.DataFrame) -> Int[np.ndarray, " document"]:
    """The label that each document's ranking begins with; -1 where it is empty."""
    return written["label_id"].list.first().fill_null(-1).to_numpy().astype(np.int64)


def simulate_student(
    written: pl.DataFrame, documents: Kernel, names: Mapping[int, str], folds: Int[np.ndarray, " document"]
) -> pl.DataFrame:
    """Which simulators predict the student's first label, a row a document.

    Args:
        written: rows of `WRITTEN` in the order of the kernel.
        documents: of `simulators.document_kernel`.
        names: label names.
        folds: of `simulators.draw_folds`.
    """
    labels = first_labels(written)
    rationales = [rationale(text) for text in written["written_text"]]
    hidden = mask_labels(rationales, name_words(names, set(labels.tolist()) - {-1}))
    return pl.DataFrame({"document_id": written["document_id"]} | asdict(simulate(documents, rationales, hidden, labels, folds)))


def simulated_of(rows: pl.DataFrame) -> Simulated:
    """The rows of `simulate_student` as arrays."""
    return Simulated(*(rows[name].to_numpy() for name in ("x", "e", "xe", "masked_e", "masked_xe")))


def in_order(rows: pl.DataFrame, column: str, document_ids: Sequence[str]) -> np.ndarray:
    """A column of rows by document, in the order of `document_ids`; NaN for documents without a row."""
    found = dict(rows.select("document_id", column).iter_rows())
    return np.array([found.get(document, np.nan) for document in document_ids], dtype=np.float64)
