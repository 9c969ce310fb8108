"""Labels by wording, no training: TF-IDF cosine over words and character 3- and 4-grams (scikit-learn), or BM25 (bm25s)."""

import re
from array import array
from collections.abc import Sequence

import bm25s  # type: ignore[import-untyped]
import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfTransformer, TfidfVectorizer
from sklearn.pipeline import FeatureUnion

from tasks.labels.search import QUERY_BLOCK, LabelIds, Ranking, Scores, join_rankings, top_scores

SCORE_CELLS = 1 << 24
"""Scores held at once, 64 MB: with more than 65,536 labels a block has fewer texts."""


class LexicalIndex:
    """TF-IDF vectors of label texts; the weights come from the label texts alone."""

    def __init__(self, label_ids: LabelIds, texts: Sequence[str]) -> None:
        """Fit on the label texts, text i for `label_ids[i]`."""
        words = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
        grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, dtype=np.float32)
        vectors = FeatureUnion([("words", words), ("grams", grams)]).fit_transform(texts)
        self._labels = vectors.T.tocsr()  # [term, label]: transposed once, not per query
        self._words, self._grams = words, WordGrams(grams)
        self.label_ids = label_ids

    @property
    def label_weights(self) -> "csr_matrix[np.float32]":
        """Weights [term, label]: `weigh(texts) @ label_weights` is twice the cosine."""
        return csr_matrix(self._labels)

    def weigh(self, texts: Sequence[str]) -> "csr_matrix[np.float32]":
        """Weights [text, term]: words and character grams, each of length 1."""
        return csr_matrix(hstack([self._words.transform(texts), self._grams.weigh(texts)]))

    def score(self, texts: Sequence[str]) -> Scores:
        """Cosines [text, label] in 0..1: the mean of the word and the character cosine."""
        product = self.weigh(texts) @ self._labels
        return np.asarray(product.toarray() / 2, dtype=np.float32)

    def search(self, texts: Sequence[str], k: int) -> Ranking:
        """The k labels of highest cosine for each text."""
        size = min(QUERY_BLOCK, max(1, SCORE_CELLS // max(len(self.label_ids), 1)))
        blocks = (texts[i : i + size] for i in range(0, len(texts), size))
        return join_rankings([top_scores(self.score(block), self.label_ids, k) for block in blocks], k)


KNOWN_WORDS = 1 << 16
"""Words whose grams are remembered: some 20 MB."""


class WordGrams:
    """A fitted `char_wb` vectoriser that looks into every word once: grams do not cross words, and words come again."""

    def __init__(self, fitted: TfidfVectorizer) -> None:
        """Take a vectoriser with its terms and weights."""
        self._clean, self._cut = fitted.build_preprocessor(), fitted.build_analyzer()
        self._columns: dict[str, int] = fitted.vocabulary_
        self._tfidf = TfidfTransformer(sublinear_tf=fitted.sublinear_tf)
        self._tfidf.idf_ = fitted.idf_
        self._known: dict[str, array[int]] = {}

    def weigh(self, texts: Sequence[str]) -> "csr_matrix[np.float32]":
        """Weights [text, gram], as the vectoriser gives them."""
        columns, starts = array("i"), [0]
        for text in texts:
            for word in self._clean(text).split():
                known = self._known.get(word)
                columns.extend(self._look_into(word) if known is None else known)
            starts.append(len(columns))
        filled = np.frombuffer(columns, np.int32) if columns else np.zeros(0, np.int32)
        counts = csr_matrix((np.ones(len(columns), np.float32), filled, starts), shape=(len(texts), len(self._columns)))
        counts.sum_duplicates()
        return csr_matrix(self._tfidf.transform(counts, copy=False))

    def _look_into(self, word: str) -> "array[int]":
        if len(self._known) >= KNOWN_WORDS:
            self._known.clear()
        columns = (self._columns.get(gram) for gram in self._cut(word))
        self._known[word] = found = array("i", [column for column in columns if column is not None])
        return found


WORD = re.compile(r"[^\W_]+")
K1, B = 1.5, 0.75


class Bm25Index:
    """BM25 weights of label texts over words, Lucene's form, precomputed a word and label (bm25s).

    A search holds the scores of one text at a time: 4 bytes a label.

    Source: Robertson and Zaragoza, Foundations and Trends in IR 3(4), 2009; Lu, arXiv 2407.03618.
    """

    def __init__(self, label_ids: LabelIds, texts: Sequence[str], k1: float = K1, b: float = B) -> None:
        """Weigh the words of the label texts, text i for `label_ids[i]`; nothing else is read."""
        self.label_ids = label_ids
        self._weights = bm25s.BM25(k1=k1, b=b, method="lucene", backend="numpy")
        self._weights.index([words_of(text) for text in texts], show_progress=False)

    def score(self, texts: Sequence[str]) -> Scores:
        """BM25 scores [text, label]; a word counts as often as the text has it, 0 where no word is shared."""
        rows = [self._weights.get_scores_from_ids(self._weights.get_tokens_ids(words_of(text))) for text in texts]
        return np.asarray(rows, dtype=np.float32).reshape(len(texts), len(self.label_ids))

    def search(self, texts: Sequence[str], k: int) -> Ranking:
        """The k labels of highest score for each text; a label that shares no word is never found."""
        return join_rankings([self._search_one(text, k) for text in texts], k)

    def _search_one(self, text: str, k: int) -> Ranking:
        scores = self.score([text])
        scores[scores <= 0] = -np.inf
        return top_scores(scores, self.label_ids, k)


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, in order, with repeats."""
    return WORD.findall(text.lower())


TFIDF_MOST_LABELS = 200_000
"""Beyond, a TF-IDF index takes more than .6 GB to build and 12 ms a document, by the figures at 63,436 labels."""


def wording_index(label_ids: LabelIds, texts: Sequence[str]) -> LexicalIndex | Bm25Index:
    """The better index the number of labels allows: TF-IDF finds more, BM25 takes a sixth of the memory."""
    return (LexicalIndex if len(texts) <= TFIDF_MOST_LABELS else Bm25Index)(label_ids, texts)
