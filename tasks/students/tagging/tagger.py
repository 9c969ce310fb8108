"""A student at work: documents in, rows of the output out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from tasks.labels.embedder import hash_text
from tasks.labels.lexical import LexicalIndex
from tasks.labels.search import LabelIds, Ranking, Vectors
from tasks.students.calibration import Calibration
from tasks.students.candidates import Student, Texts, list_candidates, open_block
from tasks.students.features import Memory, count_words, gather_evidence
from tasks.students.matrices import Matrix, fill_matrix
from tasks.students.prediction import refine_candidates
from tasks.students.tagging.listing import open_wording
from tasks.students.tagging.quick_memory import quicken
from tasks.students.tagging.rows import tag_rows


@dataclass(frozen=True)
class LeftOut:
    """Labels the dataset leaves out for one of its documents: hash of the document's text, and rows of the labels."""

    text_hash: str
    rows: NDArray[np.int64]


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
        left_out: labels left out by document id; they are those of the document only if its text is the same too.
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
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)

    @cached_property
    def _block(self) -> Tensor:
        return open_block(len(self.label_ids))

    @cached_property
    def _wording(self) -> Callable[[Sequence[str]], Matrix]:
        return open_wording(self.lexical, self._block)

    @cached_property
    def _memory(self) -> Memory:
        return quicken(self.student.memory)

    def tag(self, document_ids: Sequence[str], texts: Sequence[str], vectors: Vectors) -> pl.DataFrame:
        """Rows of the output for some documents.

        Args:
            document_ids: of the documents.
            texts: their texts.
            vectors: unit vectors of the texts.
        """
        shortlist = self.shortlists(document_ids, texts, vectors)
        return tag_rows(shortlist, document_ids, self.names, self.calibration, self.top, self.floor)

    def shortlists(self, document_ids: Sequence[str], texts: Sequence[str], vectors: Vectors) -> Ranking:
        """The student's whole shortlist of every document, in the refiner's order."""
        student, size = self.student, self.shortlist_size
        seen = Texts(vectors, count_words(texts), self._wording(texts), self._barred(document_ids, texts))
        evidence = gather_evidence(self._memory, seen.vectors, seen.counts, seen.wording)
        rows = np.arange(len(texts))
        found = list_candidates(student.shortlister, seen, evidence, self.label_vectors, rows, size, block=self._block)
        return refine_candidates(student, seen, evidence, found, self.label_ids, self.label_vectors, size, size)

    def _barred(self, document_ids: Sequence[str], texts: Sequence[str]) -> Matrix:
        known = [(row, self.left_out[name]) for row, name in enumerate(document_ids) if name in self.left_out]
        pairs = [(row, entry.rows) for row, entry in known if entry.text_hash == hash_text(texts[row])]
        rows = np.repeat(np.array([row for row, _ in pairs], np.int64), [len(labels) for _, labels in pairs])
        columns = np.concatenate([np.zeros(0, np.int64), *(labels for _, labels in pairs)])
        return fill_matrix(rows, columns, np.ones(len(rows), np.float32), (len(texts), len(self.label_ids)))
