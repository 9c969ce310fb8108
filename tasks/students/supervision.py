"""Trace tables to training arrays: what the teacher answered, shortlisted, kept and dropped, by document and label row.

Only mentions that link to a label count, pairs to leave out never do, and a document is usable if an answer remains.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.errors import TrainingError
from tasks.students.anchors import Anchors
from tasks.students.matrices import Matrix, empty_matrix, fill_matrix, filled_rows, sparse, without_cells

NEAR_GRADE = 0.05
"""Grade of the teacher's best candidate that is not an answer; answers have grade 1 (development: 0.25 cost precision)."""

DECAY = 0.8
"""Each further candidate has this share of the grade before it."""

MIN_DOCUMENTS = 20
"""Fewer documents than this with one kind of supervision are not trained on."""


@dataclass(frozen=True)
class Pairs:
    """Documents and labels by row: a matrix shape, and where a document or label id stands in it."""

    document_ids: tuple[str, ...]
    label_ids: NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int]:
        """Documents, labels."""
        return len(self.document_ids), len(self.label_ids)

    def matrix(self, frame: pl.DataFrame, value: str | None = None) -> Matrix:
        """Sparse float32 matrix [document, label] of the frame's `document_id` and `label_id`; other pairs are left out.

        Args:
            frame: pairs; of a pair that stands there twice the larger value counts.
            value: column of values; without it every pair is 1.
        """
        documents = pl.DataFrame({"document_id": self.document_ids}, schema={"document_id": pl.String}).with_row_index("row")
        labels = pl.DataFrame({"label_id": self.label_ids}, schema={"label_id": pl.Int32}).with_row_index("column")
        cells = (
            frame.select("document_id", "label_id", value=pl.col(value) if value else pl.lit(1.0))
            .join(documents, on="document_id")
            .join(labels, on="label_id")
            .group_by("row", "column")
            .agg(pl.col("value").max())
            .sort("row", "column")
        )
        values = cells["value"].cast(pl.Float32).to_numpy()
        return fill_matrix(cells["row"].to_numpy(), cells["column"].to_numpy(), values, self.shape)


@dataclass(frozen=True)
class Supervision:
    """What one method learns from; all matrices are [document, label] and share their rows.

    Attributes:
        answers: 1 for final labels.
        grades: 1 for final labels, falling with rank for the rest of the shortlist.
        kept: 1 for labels that a keep step argues for and no drop step against.
        dropped: 1 for labels that a drop step argues against and no keep step for.
        anchors: words that its verdicts cite; null for a method that is not told.
    """

    document_ids: tuple[str, ...]
    answers: Matrix
    grades: Matrix
    kept: Matrix
    dropped: Matrix
    anchors: Anchors | None = None

    @property
    def listed(self) -> Matrix:
        """Candidates that are no answers: 1 for the best of a document, each further one 0.8 of the one before it."""
        others = without_cells(self.grades, self.answers)
        others.data /= np.float32(NEAR_GRADE)
        return others

    @property
    def has_verdicts(self) -> NDArray[np.bool_]:
        """Documents with a kept and a dropped label."""
        return filled_rows(self.kept) & filled_rows(self.dropped)

    def take(self, rows: NDArray[np.int64]) -> "Supervision":
        """The same of some documents, in the order of `rows`."""
        return Supervision(
            tuple(self.document_ids[i] for i in rows),
            self.answers[rows],
            self.grades[rows],
            self.kept[rows],
            self.dropped[rows],
            self.anchors and self.anchors.take(rows),
        )


def read_supervision(
    pairs: Pairs,
    barred: Matrix,
    answers: pl.DataFrame,
    shortlist: pl.DataFrame,
    steps: pl.DataFrame,
    anchors: Anchors | None = None,
) -> Supervision:
    """The teacher's supervision of all documents of `pairs`; a document without a usable trace has empty rows.

    Args:
        pairs: documents and labels of the matrices.
        barred: pairs to leave out, as a matrix like the results.
        answers: rows of `core_answers`.
        shortlist: rows of `core_shortlist`.
        steps: rows of `core_steps`.
        anchors: of the same documents.
    """
    finals = without_cells(pairs.matrix(answers.drop_nulls("label_id")), barred)
    graded = without_cells(pairs.matrix(grade_candidates(answers, shortlist), "grade"), barred)
    graded = sparse(graded.multiply(filled_rows(finals).astype(np.float32)[:, None]))
    kept, dropped = read_verdicts(steps)
    kept_matrix, dropped_matrix = without_cells(pairs.matrix(kept), barred), without_cells(pairs.matrix(dropped), barred)
    both = sparse(kept_matrix.multiply(dropped_matrix))
    return Supervision(
        pairs.document_ids,
        finals,
        sparse(graded.maximum(finals)),
        without_cells(kept_matrix, both),
        without_cells(dropped_matrix, both),
        anchors,
    )


def grade_candidates(answers: pl.DataFrame, shortlist: pl.DataFrame) -> pl.DataFrame:
    """Candidates that are not answers, with `grade` = 0.05 * 0.8^n for the n-th of their trace (from 0), by rank."""
    others = shortlist.drop_nulls("label_id").unique(["trace_id", "label_id"], keep="first", maintain_order=True)
    others = others.join(answers.drop_nulls("label_id"), on=["trace_id", "label_id"], how="anti", nulls_equal=False)
    place = pl.col("rank").rank("ordinal").over("trace_id").cast(pl.Float64) - 1
    return others.with_columns(grade=NEAR_GRADE * pl.lit(DECAY).pow(place))


def read_verdicts(steps: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Kept and dropped (document_id, label_id): what keep steps argue for, and what drop steps argue against."""
    kept = steps.filter(pl.col("verdict") == "keep").select("document_id", label_id="target_label_id")
    dropped = steps.filter(pl.col("verdict") == "drop").select("document_id", label_id="near_miss_label_id")
    return kept.drop_nulls(), dropped.drop_nulls()


def gold_supervision(pairs: Pairs, barred: Matrix, relevance: pl.DataFrame) -> Supervision:
    """Known targets in the place of the teacher's answers; there is no shortlist and no verdict."""
    known = relevance.filter((pl.col("relevance") > 0) & ~pl.col("is_filtered"))
    answers = without_cells(pairs.matrix(known), barred)
    empty = empty_matrix(pairs.shape)
    return Supervision(pairs.document_ids, answers, answers, empty, empty)


def without_phases(supervision: Supervision, has_p1: bool, has_p2: bool) -> Supervision:
    """The supervision less what a method does not see: grades and anchors without phase 1, verdicts without phase 2."""
    empty = empty_matrix(supervision.answers.shape)
    return replace(
        supervision,
        grades=supervision.grades if has_p1 else supervision.answers,
        kept=supervision.kept if has_p2 else empty,
        dropped=supervision.dropped if has_p2 else empty,
        anchors=supervision.anchors if has_p1 else None,
    )


def usable_rows(supervision: Supervision) -> NDArray[np.int64]:
    """Documents with at least one answer."""
    return np.flatnonzero(filled_rows(supervision.answers))


def refuse_too_little(supervision: Supervision, document_count: int, has_p1: bool, has_p2: bool) -> None:
    """Refuse to train where a kind of supervision is missing.

    Raises:
        TrainingError: fewer than 20 documents have answers, shortlists (with phase 1) or verdicts (with phase 2).
    """
    counts = {"an answer that links to a label": len(usable_rows(supervision))}
    if has_p1:
        counts["a candidate besides the answers"] = int(filled_rows(without_cells(supervision.grades, supervision.answers)).sum())
    if has_p2:
        counts["both a kept and a dropped label"] = int(supervision.has_verdicts.sum())
    for what, count in counts.items():
        if count < MIN_DOCUMENTS:
            raise TrainingError(
                f"distill: {count} of {document_count} training documents have {what}, {MIN_DOCUMENTS} are needed; "
                "trace more documents, look at core_rejects, or leave out the method (distill.methods)"
            )
