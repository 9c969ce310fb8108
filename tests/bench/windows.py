"""Long texts as windows: the alternative to cutting them, which retrieval does."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tasks.labels.search import NO_LABEL, LabelIds, Ranking, join_rankings

Vectors = NDArray[np.float32]
Owners = NDArray[np.int64]


def cut_windows(texts: Sequence[str], tokenizer: Tokenizer, token_count: int) -> tuple[list[str], Owners]:
    """All texts in windows of so many tokens, special ones apart, and the text each window is of; every text has one."""
    windows, owners = [], []
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for owner, text in enumerate(texts):
        spans = tokenizer.encode(text, add_special_tokens=False).offsets or [(0, len(text))]
        for start in range(0, len(spans), token_count):
            windows.append(text[spans[start][0] : spans[start : start + token_count][-1][1]])
            owners.append(owner)
    return windows, np.array(owners, np.int64)


def pool_windows(vectors: Vectors, owners: Owners, count: int) -> Vectors:
    """The unit mean of each text's window vectors, one row a text.

    Args:
        vectors: unit vectors of windows.
        owners: the text (row of the result) each window is of.
        count: how many texts there are; each has a window.
    """
    sums = np.zeros((count, vectors.shape[1]), np.float32)
    np.add.at(sums, owners, vectors)
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float32)


def best_of_windows(ranking: Ranking, owners: Owners, count: int, k: int) -> Ranking:
    """The k labels of highest score in any window of a text; `ranking` has one list a window."""
    width = ranking.label_ids.shape[1]
    texts, ids, scores = np.repeat(owners, width), ranking.label_ids.ravel(), ranking.scores.ravel()
    order = np.lexsort((ids, -scores, texts))
    texts, ids, scores = texts[order], ids[order], scores[order]
    rows = [_first_of_each(ids[part], scores[part], k) for part in _parts(texts, count)]
    return join_rankings(rows, k)


def _parts(texts: Owners, count: int) -> Iterator[slice]:
    bounds = np.searchsorted(texts, np.arange(count + 1))
    return (slice(first, last) for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def _first_of_each(ids: LabelIds, scores: NDArray[np.float32], k: int) -> Ranking:
    first = np.sort(np.unique(ids, return_index=True)[1])
    first = first[ids[first] != NO_LABEL][:k]
    return Ranking(ids[first][None], scores[first][None])
