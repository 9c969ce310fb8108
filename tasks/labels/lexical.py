"""Labels by wording: TF-IDF cosine over words and character 3- and 4-grams, no training (scikit-learn)."""

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion

from tasks.labels.search import QUERY_BLOCK, LabelIds, Ranking, Scores, join_rankings, top_scores


class LexicalIndex:
    """TF-IDF vectors of label texts; the weights come from the label texts alone."""

    def __init__(self, label_ids: LabelIds, texts: Sequence[str]) -> None:
        """Fit on the label texts, text i for `label_ids[i]`."""
        words = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
        grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, dtype=np.float32)
        self._vectorizer = FeatureUnion([("words", words), ("grams", grams)])
        self._labels = self._vectorizer.fit_transform(texts).T.tocsr()  # [term, label]: transposed once, not per query
        self.label_ids = label_ids

    def score(self, texts: Sequence[str]) -> Scores:
        """Cosines [text, label] in 0..1: the mean of the word and the character cosine."""
        product = self._vectorizer.transform(texts) @ self._labels
        return np.asarray(product.toarray() / 2, dtype=np.float32)

    def search(self, texts: Sequence[str], k: int) -> Ranking:
        """The k labels of highest cosine for each text."""
        blocks = (texts[i : i + QUERY_BLOCK] for i in range(0, len(texts), QUERY_BLOCK))
        return join_rankings([top_scores(self.score(block), self.label_ids, k) for block in blocks], k)
