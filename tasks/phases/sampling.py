"""Which documents are characterized, and what one document's trace holds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from schemas.errors import EmptyTargetError
from schemas.selections import whole_traces


@dataclass(frozen=True)
class DocumentTrace:
    """One document with one trace: its steps in order, shortlist, targets and pairs to leave out."""

    document_id: str
    document_text: str
    steps: pl.DataFrame
    shortlist: pl.DataFrame
    targets: tuple[int, ...]
    left_out: tuple[int, ...]
    kept_count: int


def sample_traces(traces: pl.DataFrame, max_documents: int, seed: int) -> pl.DataFrame:
    """One whole trace of each test document, for a sample of at most `max_documents` of them.

    Args:
        traces: `core_traces`.
        max_documents: how many documents.
        seed: draws them; the same seed and traces give the same documents.

    Raises:
        EmptyTargetError: no test document has a usable trace with steps.
    """
    whole = whole_traces(traces)
    usable = whole.filter((pl.col("split") == "test") & (pl.col("step_count") > 0)).sort("document_id", "trace_id")
    single = usable.unique("document_id", keep="first", maintain_order=True)
    if single.is_empty():
        raise EmptyTargetError("core_traces: no test document has a usable trace; ask about the test split and parse again")
    order = np.random.default_rng(seed).permutation(single.height)[:max_documents]
    return single.select(pl.all().gather(np.sort(order)))


def document_traces(
    chosen: pl.DataFrame,
    documents: pl.DataFrame,
    relevance: pl.DataFrame,
    steps: pl.DataFrame,
    shortlist: pl.DataFrame,
    answers: pl.DataFrame,
) -> Iterator[DocumentTrace]:
    """Every chosen trace with what belongs to it, in the order of `chosen`."""
    texts = dict(documents.select("document_id", "document_text").iter_rows())
    steps_of = (
        steps.filter(pl.col("trace_id").is_in(chosen["trace_id"].implode())).sort("step").partition_by("trace_id", as_dict=True)
    )
    listed_of = shortlist.sort("rank").partition_by("trace_id", as_dict=True)
    targets = _labels_by_document(relevance.filter(~pl.col("is_filtered") & (pl.col("relevance") > 0)))
    left_out = _labels_by_document(relevance.filter(pl.col("is_filtered")))
    kept = dict(answers.group_by("trace_id").len().iter_rows())
    for trace_id, document_id in chosen.select("trace_id", "document_id").iter_rows():
        yield DocumentTrace(
            document_id,
            texts[document_id],
            steps_of[(trace_id,)],
            listed_of.get((trace_id,), shortlist.clear()),
            targets.get(document_id, ()),
            left_out.get(document_id, ()),
            int(kept.get(trace_id, 0)),
        )


def _labels_by_document(pairs: pl.DataFrame) -> dict[str, tuple[int, ...]]:
    grouped = pairs.group_by("document_id").agg(pl.col("label_id").sort())
    return {document: tuple(labels) for document, labels in grouped.iter_rows()}
