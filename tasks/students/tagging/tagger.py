"""A student at work: documents in, rows of the output out."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tasks.labels.lexical import LexicalIndex
from tasks.labels.search import LabelIds, Ranking, Vectors
from tasks.students.calibration import Calibration
from tasks.students.candidates import Student, Texts
from tasks.students.features import count_words, find_wording
from tasks.students.matrices import empty_matrix
from tasks.students.prediction import predict_labels
from tasks.students.tagging.rows import tag_rows


@dataclass(frozen=True)
class Tagger:
    """A student with the labels it chooses from, and how much of its shortlist is written.

    Attributes:
        student: to rank with.
        shortlist_size: labels the refiner sees.
        calibration: of the student.
        label_ids: label of each row of `label_vectors`.
        label_vectors: unit vectors [label, d_model].
        lexical: wording of the same labels.
        names: `LabelNames.frame` of them.
        top: labels a document.
        floor: least probability.
    """

    student: Student
    shortlist_size: int
    calibration: Calibration
    label_ids: LabelIds
    label_vectors: Vectors
    lexical: LexicalIndex
    names: pl.DataFrame
    top: int
    floor: float

    def tag(self, document_ids: Sequence[str], texts: Sequence[str], vectors: Vectors) -> pl.DataFrame:
        """Rows of the output for some documents.

        Args:
            document_ids: of the documents.
            texts: their texts.
            vectors: unit vectors of the texts.
        """
        return tag_rows(self.shortlists(texts, vectors), document_ids, self.names, self.calibration, self.top, self.floor)

    def shortlists(self, texts: Sequence[str], vectors: Vectors) -> Ranking:
        """The student's whole shortlist of every text, in the refiner's order."""
        seen = Texts(
            vectors,
            count_words(texts),
            find_wording(self.lexical, self.label_ids, texts),
            empty_matrix((len(texts), len(self.label_ids))),
        )
        size = self.shortlist_size
        return predict_labels(self.student, seen, self.label_ids, self.label_vectors, size, size)
