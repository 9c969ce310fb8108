"""What is kept of one student's work, as frames: what it wrote and ranked, and which simulators are right of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from jaxtyping import Int

from tasks.fidelity.simulators import Kernel, Simulated, mask_labels, name_words, simulate
from tasks.open_models.read_out import (
    Speaker,
    is_whole,
    next_labels,
    rank_labels,
    rationale,
    read_written,
    until_answer,
    write_traces,
)

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
    tokens: Mapping[int, str]
    names: Mapping[int, str]
    max_tokens: int
    prediction_count: int
    batch_size: int


def write_and_rank(speaker: Speaker, task: WritingTask, read_out: str) -> pl.DataFrame:
    """What a student writes of every document and how it ranks labels; rows of `WRITTEN`.

    Pairs that are left out of rankings take no place in them.

    Args:
        speaker: the student.
        task: the documents.
        read_out: `written`: the answers as written, then the distribution at the first answer position; `next`: that alone.
    """
    written = write_traces(speaker, task.prompts, task.max_tokens, task.batch_size)
    contexts = [[*prompt, *until_answer(ids, speaker)] for prompt, ids in zip(task.prompts, written, strict=True)]
    spare = max((len(labels) for labels in task.filtered.values()), default=0)
    following = next_labels(speaker, contexts, task.prediction_count + spare, task.batch_size)
    rows = []
    for place, (document, ids) in enumerate(zip(task.document_ids, written, strict=True)):
        text = speaker.text(ids)
        said = read_written(text, task.tokens)
        answers = said.answers if read_out == "written" else ()
        ranked = rank_labels(answers, following.label_ids[place].tolist(), following.nats[place].tolist())
        barred = task.filtered.get(document, ())
        kept = [pair for pair in ranked if pair[0] not in barred][: task.prediction_count]
        labels, scores = (list(part) for part in zip(*kept, strict=True)) if kept else ([], [])
        rows.append((document, text, is_whole(text, said, speaker.has_trace), labels, scores))
    return pl.DataFrame(rows, schema=pl.Schema(WRITTEN), orient="row")


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
