"""Which documents are asked about, which labels they are offered or given, and the prompt of each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import polars as pl

from tasks.labels.retrieval import Kind, Retriever
from tasks.labels.search import NO_LABEL
from tasks.traces.prompts import OfferedLabel, Prompt, Wish, candidates_prompt, open_prompt, spread_examples

OWN, OTHER = "phase-2-teacher", "phase-2-stranger"
"""Variants that are given a phase-1 answer: the document's own, or another document's."""


def chosen_documents(documents: pl.DataFrame, max_documents: int | None) -> pl.DataFrame:
    """The documents to ask about: the first `max_documents` of each split, or all."""
    ordered = documents.sort("split", "source_line", descending=[True, False])
    return ordered if max_documents is None else ordered.group_by("split", maintain_order=True).head(max_documents)


def draw_strangers(documents: pl.DataFrame, seed: int) -> dict[str, str]:
    """For each document another one of its split with another text, drawn at random; none where there is none.

    One that comes before it if there is one, so that documents added at the end change no question that was asked.
    """
    strangers = {}
    for _, part in documents.group_by("split", maintain_order=True):
        ids, hashes = part["document_id"].to_list(), part["text_hash"].to_list()
        for row, draw in enumerate(np.random.default_rng(seed).random(part.height)):
            earlier = ((int(draw * row) + step) % row for step in range(row))
            others = chain(earlier, range(row + 1, part.height))
            stranger = next((other for other in others if hashes[other] != hashes[row]), None)
            if stranger is not None:
                strangers[ids[row]] = ids[stranger]
    return strangers


@dataclass(frozen=True)
class Retrieval:
    """What labels are found with, by vector or by wording, and labels a document must not be offered."""

    retriever: Retriever
    kind: Kind
    left_out: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def nearest(self, document_ids: Sequence[str], texts: list[str], count: int) -> list[list[int]]:
        """Ids of the labels nearest to each text, best first, but for those left out of its document."""
        found = self.retriever.retrieve(self.kind, document_ids, texts, count, self.left_out)
        return [[label for label in ranked if label != NO_LABEL] for ranked in found.label_ids.tolist()]


def left_out_labels(relevance: pl.DataFrame) -> dict[str, frozenset[int]]:
    """Filtered labels by document."""
    pairs = relevance.filter("is_filtered").group_by("document_id").agg("label_id")
    return {document: frozenset(ids) for document, ids in pairs.iter_rows()}


class Questions:
    """Makes the prompts of a chunk of documents, in every variant."""

    def __init__(
        self, prompt_kind: str, form: str, labels: pl.DataFrame, retrieval: Retrieval | None, counts: tuple[int, int]
    ) -> None:
        """Prepare for one kind and form; `counts` are the labels offered and the labels of the index's shortlist.

        Args:
            prompt_kind: `open` or `candidates`.
            form: form of answer to ask for.
            labels: `core_labels`.
            retrieval: finds labels; null where no prompt needs it.
            counts: labels a `candidates` prompt offers, and labels phase 2 is given of the index.
        """
        self._kind = prompt_kind
        self._form = form
        self._names = dict(labels.select("label_id", "label_name").iter_rows())
        self._by_name = find_by_name(self._names)
        self._examples = spread_examples(labels["label_name"].to_list())
        self._retrieval = retrieval
        self._offered_count, self._given_count = counts

    def prompts(
        self, variant: str, document_ids: Sequence[str], texts: list[str], shortlists: Sequence[Sequence[str]] | None
    ) -> list[Prompt | None]:
        """The prompt of each document; null where the shortlist it should be given has no label.

        Args:
            variant: what is asked for.
            document_ids: the documents.
            texts: their texts.
            shortlists: for variants that are given a phase-1 answer, the names it listed, as written.
        """
        wish = Wish(variant, self._form)
        if shortlists is not None:
            given = [self._read_given(names, variant == OWN) for names in shortlists]
            return [self._given_prompt(text, wish, some) if some else None for text, some in zip(texts, given, strict=True)]
        if variant == "phase-2-index":
            return [self._given_prompt(text, wish, some) for text, some in self._nearest(document_ids, texts, self._given_count)]
        if self._kind == "open":
            return [open_prompt(text, len(self._names), self._examples, wish) for text in texts]
        offered = self._nearest(document_ids, texts, self._offered_count)
        return [candidates_prompt(text, some, wish) for text, some in offered]

    def _nearest(self, document_ids: Sequence[str], texts: list[str], count: int) -> list[tuple[str, list[OfferedLabel]]]:
        if self._retrieval is None:
            raise ValueError("this prompt needs the label index, and was made without one")
        found = self._retrieval.nearest(document_ids, texts, count)
        return [(text, [self._label(i) for i in ids]) for text, ids in zip(texts, found, strict=True)]

    def _label(self, label_id: int) -> OfferedLabel:
        return OfferedLabel(label_id, self._names[label_id])

    def _given_prompt(self, text: str, wish: Wish, given: Sequence[OfferedLabel]) -> Prompt:
        if self._kind == "candidates":
            return candidates_prompt(text, given, wish)
        return open_prompt(text, len(self._names), self._examples, wish, given)

    def _read_given(self, names: Sequence[str], is_own: bool) -> list[OfferedLabel]:
        """Labels a phase-1 answer listed, each once.

        Of an open list a document's own names stand as they were written. Another document's pass only as names of the
        catalogue: nothing a document made the teacher write may reach the prompt of another one.
        """
        distinct = list(dict.fromkeys(" ".join(name.split()) for name in names if name.strip()))
        if self._kind == "open" and is_own:
            return [OfferedLabel(None, name) for name in distinct]
        numbers = [self._find(name) for name in distinct]
        labels = [self._label(number) for number in dict.fromkeys(numbers) if number is not None]
        return [OfferedLabel(None, label.name) for label in labels] if self._kind == "open" else labels

    def _find(self, name: str) -> int | None:
        """The label meant: by number in a closed list, else by its name, or by the part before a colon if that is its alone."""
        number = read_number(name) if self._kind == "candidates" else None
        return number if number in self._names else self._by_name.get(name.casefold())


def find_by_name(names: Mapping[int, str]) -> dict[str, int]:
    """Label ids by name in small letters, and by the part before the first `: ` where only one label has it."""
    whole = {" ".join(name.split()).casefold(): label_id for label_id, name in names.items()}
    heads = Counter(name.partition(": ")[0] for name in whole)
    return {name.partition(": ")[0]: i for name, i in whole.items() if heads[name.partition(": ")[0]] == 1} | whole


def read_number(name: str) -> int | None:
    """The number of a label named as `[12] name`, `[12]` or `12`; null if it has none."""
    number = name.strip().removeprefix("[").partition("]")[0].strip()
    return int(number) if number.isdecimal() and len(number) < 10 else None
