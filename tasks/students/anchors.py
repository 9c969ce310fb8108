"""Words that the teacher goes by: which words of documents its verdicts cite, and how much more a word weighs for it.

In a decoder phase 1 is attention to anchors, the words of a document that a trace cites. A student that reads words by their
weights attends alike: a word that the teacher cites in most documents that hold it weighs more, one that it passes over less.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.sequences.evidence import cited_words
from tasks.sequences.words import find_words
from tasks.students.features import mark_words
from tasks.students.matrices import Matrix, fill_matrix, sparse

PRIOR_DOCUMENTS = 5
"""A word's share of citations is that of so many documents with the average share, and of its own."""

POWER = 0.5
"""A word cited twice as often as others weighs 2^0.5 times as much (development: 0.25, 0.5 and 1 are alike)."""


@dataclass(frozen=True)
class Anchors:
    """Words of documents, and those of them that the teacher's steps cite.

    Attributes:
        held: 1 for each word [document, bucket]; pairs of words are no words here.
        cited: 1 for each cited word, with some cells of `held` at most.
    """

    held: Matrix
    cited: Matrix

    def take(self, rows: NDArray[np.int64]) -> "Anchors":
        """The same of some documents, in the order of `rows`."""
        return Anchors(self.held[rows], self.cited[rows])

    def weights(self) -> NDArray[np.float32]:
        """Weight of each bucket: the share of its documents in which it is cited over that of all words, to the power .5.

        Buckets that no document holds as a word weigh 1, as all do where nothing is cited.
        """
        held, cited = (np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(float) for matrix in (self.held, self.cited))
        if not cited.sum():
            return np.ones(len(held), np.float32)
        share = cited.sum() / held.sum()
        relative = (cited + PRIOR_DOCUMENTS * share) / (held + PRIOR_DOCUMENTS) / share
        return np.where(held > 0, relative**POWER, 1).astype(np.float32)

    def drawn_weights(self, random: np.random.Generator) -> NDArray[np.float32]:
        """The same weights, dealt out anew among words that about as many documents hold: what anchors drawn at random weigh."""
        held = np.bincount(self.held.indices, minlength=self.held.shape[1])
        weights, known = self.weights(), np.flatnonzero(held)
        frequency = np.round(2 * np.log2(held[known]))
        for each in np.unique(frequency):
            alike = known[frequency == each]
            weights[alike] = random.permutation(weights[alike])
        return weights


def read_anchors(document_ids: Sequence[str], texts: Sequence[str], names: Mapping[int, str], steps: pl.DataFrame) -> Anchors:
    """What the teacher's steps cite of documents.

    Args:
        document_ids: rows of the result.
        texts: of the same documents.
        names: name of each label, which cites nothing where a step discusses the label.
        steps: rows of `core_steps`; those with a verdict count.
    """
    held = mark_words(texts)
    rows = {document_id: row for row, document_id in enumerate(document_ids)}
    words = [{word.text for word in find_words(text)} for text in texts]
    cited: list[tuple[int, str]] = []
    judging = steps.filter(pl.col("verdict") != "none").drop_nulls("step_text")
    columns = ("document_id", "step_text", "target_label_id", "near_miss_label_id")
    for document_id, step_text, *labels in judging.select(columns).iter_rows():
        row = rows.get(document_id)
        if row is not None:
            discussed = [names[label] for label in labels if label in names]
            cited += [(row, word) for word in cited_words(step_text, discussed, words[row]).words]
    each = list(dict.fromkeys(word for _, word in cited))
    buckets = mark_words(each)
    place = {word: i for i, word in enumerate(each)}
    found = sparse(buckets[np.array([place[word] for _, word in cited], np.int64)])
    documents = np.repeat(np.array([row for row, _ in cited], np.int64), np.diff(found.indptr))
    cells = np.unique(np.stack([documents, found.indices.astype(np.int64)]), axis=1)
    marked = fill_matrix(cells[0], cells[1], np.ones(cells.shape[1], np.float32), held.shape)
    return Anchors(held, sparse(marked.multiply(held)))
