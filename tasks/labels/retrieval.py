"""Labels of documents, by vector, by wording or by both: one function, in blocks, with filtered pairs left out."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from schemas.errors import ConfigError
from tasks.labels.fusion import fuse_rankings
from tasks.labels.search import NO_LABEL, QUERY_BLOCK, LabelIndex, Ranking, Vectors, join_rankings

Kind = Literal["dense", "lexical", "fused"]
Embed = Callable[[list[str]], Vectors]
LeftOut = Mapping[str, Set[int]]
"""Label ids a document must not be given, by document id."""

FUSED_DEPTH = 200
"""Least length of the two lists that are fused."""


class TextIndex(Protocol):
    """An index that takes texts; `Bm25Index` and `LexicalIndex` are two."""

    def search(self, texts: Sequence[str], k: int) -> Ranking:
        """The k best labels of each text."""


@dataclass(frozen=True)
class Retriever:
    """What labels are found with; a part that no asked kind needs may be None."""

    dense: LabelIndex | None = None
    embed: Embed | None = None
    lexical: TextIndex | None = None

    def retrieve(
        self, kind: Kind, document_ids: Sequence[str], texts: Sequence[str], k: int, left_out: LeftOut | None = None
    ) -> Ranking:
        """The k best labels of each document but for those left out of it, one row a document.

        Args:
            kind: `dense` (cosine of vectors), `lexical` (wording) or `fused` (both, by rank).
            document_ids: the documents.
            texts: their texts, in the same order.
            k: labels kept of each; left-out labels are removed before the cut.
            left_out: label ids by document.

        Raises:
            ConfigError: the retriever lacks a part this kind needs, k is below 1, or ids and texts differ in number.
        """
        return join_rankings(list(self.retrieve_blocks(kind, document_ids, texts, k, left_out)), k)

    def retrieve_blocks(
        self, kind: Kind, document_ids: Sequence[str], texts: Sequence[str], k: int, left_out: LeftOut | None = None
    ) -> Iterator[Ranking]:
        """The same, a block of documents at a time, so that memory does not grow with their number."""
        if k < 1:
            raise ConfigError(f"retrieval: k = {k}, where at least 1 label is asked for")
        if len(document_ids) != len(texts):
            raise ConfigError(f"retrieval: {len(document_ids)} document ids but {len(texts)} texts")
        for start in range(0, len(texts), QUERY_BLOCK):
            block = slice(start, start + QUERY_BLOCK)
            barred = [(left_out or {}).get(document, frozenset()) for document in document_ids[block]]
            yield self._retrieve_block(kind, list(texts[block]), k, barred)

    def _retrieve_block(self, kind: Kind, texts: list[str], k: int, barred: Sequence[Set[int]]) -> Ranking:
        depth = max(k, FUSED_DEPTH) if kind == "fused" else k
        fetched = depth + max(map(len, barred))
        parts = ("dense", "lexical") if kind == "fused" else (kind,)
        found = [leave_out(self._search(part, texts, fetched), barred, depth) for part in parts]
        return found[0] if len(found) == 1 else fuse_rankings(found, k)

    def _search(self, part: str, texts: list[str], k: int) -> Ranking:
        if part == "lexical":
            if self.lexical is None:
                raise ConfigError("retrieval by wording needs a text index (Bm25Index or LexicalIndex), and was given none")
            return self.lexical.search(texts, k)
        if self.dense is None or self.embed is None:
            raise ConfigError("retrieval by vector needs a label index and an embedder, and was not given both")
        return self.dense.search(np.asarray(self.embed(texts)), min(k, self.dense.size))


def leave_out(ranking: Ranking, barred: Sequence[Set[int]], k: int) -> Ranking:
    """The first k labels of each list but for the barred ones, in order; short lists end in `NO_LABEL`.

    Args:
        ranking: lists of at least k labels more than are barred, or of all labels.
        barred: label ids to remove, one set a list.
        k: length of the lists.
    """
    removed = ranking.label_ids == NO_LABEL
    for row, labels in enumerate(barred):
        if labels:
            removed[row] |= np.isin(ranking.label_ids[row], np.fromiter(labels, np.int64, len(labels)))
    order = np.argsort(removed, axis=1, kind="stable")[:, :k]
    ids = np.where(removed, np.int32(NO_LABEL), ranking.label_ids)
    scores = np.where(removed, np.float32(-np.inf), ranking.scores)
    kept = Ranking(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))
    return join_rankings([kept], k)
