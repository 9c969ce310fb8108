"""Which documents are asked about, and the prompt of each."""

import numpy as np
import polars as pl

from tasks.labels.search import NO_LABEL, LabelIndex, Vectors
from tasks.traces.prompts import OfferedLabel, Prompt, candidates_prompt, open_prompt, spread_examples


def chosen_documents(documents: pl.DataFrame, max_documents: int | None) -> pl.DataFrame:
    """The documents to ask about: the first `max_documents` of each split, or all."""
    ordered = documents.sort("split", "source_line", descending=[True, False])
    return ordered if max_documents is None else ordered.group_by("split", maintain_order=True).head(max_documents)


def open_prompts(texts: list[str], labels: pl.DataFrame) -> list[Prompt]:
    """The `open` prompt of each document text."""
    examples = spread_examples(labels["label_name"].to_list())
    return [open_prompt(text, labels.height, examples) for text in texts]


def candidate_prompts(
    documents: pl.DataFrame, vectors: Vectors, index: LabelIndex, labels: pl.DataFrame, relevance: pl.DataFrame, count: int
) -> list[Prompt]:
    """The `candidates` prompt of each document: its nearest labels, filtered pairs left out."""
    names = dict(labels.select("label_id", "label_name").iter_rows())
    pairs = relevance.filter("is_filtered").group_by("document_id").agg("label_id")
    left_out = {document: set(ids) for document, ids in pairs.iter_rows()}
    margin = max(map(len, left_out.values()), default=0)
    found = index.search(np.asarray(vectors), min(count + margin, index.size)).label_ids.tolist()
    prompts = []
    for (document, text), ranked in zip(documents.select("document_id", "document_text").iter_rows(), found, strict=True):
        barred = left_out.get(document, set()) | {NO_LABEL}
        kept = [label for label in ranked if label not in barred][:count]
        prompts.append(candidates_prompt(text, [OfferedLabel(label, names[label]) for label in kept]))
    return prompts
