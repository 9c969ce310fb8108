"""Rankings as rows of the output: one a document and rank, with the label's names, its score and its probability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tasks.labels.search import NO_LABEL, LabelIds, Ranking
from tasks.students.calibration import Calibration, Curve, shortlist_shares

TAG_SCHEMA = pl.Schema(
    {
        "document_id": pl.String,
        "rank": pl.Int32,
        "label_id": pl.Int32,
        "label_uid": pl.String,
        "label_name": pl.String,
        "score": pl.Float64,
        "probability": pl.Float64,
    }
)
"""Columns of the output, each as in the tables of a data root; `probability` is 0 to 1."""


@dataclass(frozen=True)
class LabelNames:
    """Identifier and name of every label, in the order of `label_ids`."""

    label_ids: LabelIds
    uids: Sequence[str]
    names: Sequence[str]

    def frame(self) -> pl.DataFrame:
        """The same as columns."""
        columns = {"label_id": self.label_ids, "label_uid": self.uids, "label_name": self.names}
        return pl.DataFrame(columns, schema={name: TAG_SCHEMA[name] for name in columns})


def tag_rows(
    shortlist: Ranking, document_ids: Sequence[str], labels: pl.DataFrame, calibration: Calibration, top: int, floor: float
) -> pl.DataFrame:
    """The first `top` labels of every document whose probability is at least `floor`, as rows of the output.

    Args:
        shortlist: labels of the documents, the whole shortlist: a probability depends on all of it.
        document_ids: of the documents.
        labels: from `LabelNames.frame`.
        calibration: of the student.
        top: labels a document.
        floor: least probability.
    """
    curve = Curve(calibration.form, calibration.numbers, calibration.knots)
    probabilities = curve.probabilities(shortlist_shares(shortlist))
    is_written = (shortlist.label_ids != NO_LABEL) & (probabilities >= floor)
    is_written[:, top:] = False
    rows, places = np.nonzero(is_written)
    frame = pl.DataFrame(
        {
            "document_id": np.asarray(document_ids, dtype=object)[rows].tolist(),
            "rank": places + 1,
            "label_id": shortlist.label_ids[rows, places],
            "score": shortlist.scores[rows, places],
            "probability": probabilities[rows, places],
        },
        schema={name: TAG_SCHEMA[name] for name in ("document_id", "rank", "label_id", "score", "probability")},
    )
    return frame.join(labels, on="label_id", how="left", maintain_order="left").select(list(TAG_SCHEMA))
