import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from tasks.labels import lexical
from tasks.labels.lexical import Bm25Index, LexicalIndex, WordGrams, wording_index, words_of
from tasks.labels.search import NO_LABEL

IDS = np.array([5, 6, 7], np.int32)
TEXTS = ["vim: an editor", "gimp: image painting and image editing", "nginx: web server"]


def test_words_of_keeps_repeats_and_splits_at_marks() -> None:
    assert words_of("Vim-gtk3, vim_gtk3: ÉDITEUR!") == ["vim", "gtk3", "vim", "gtk3", "éditeur"]


def test_bm25_scores_follow_the_formula() -> None:
    # Lucene's form: idf ln(1 + (3 - 1 + .5) / (1 + .5)); tf 2 / (2 + k1 (1 - b + b 6 / 4)), mean length (3 + 6 + 3) / 3 = 4
    expected = np.log(1 + 2.5 / 1.5) * 2 / (2 + 1.5 * (0.25 + 0.75 * 6 / 4))
    assert Bm25Index(IDS, TEXTS).score(["an image", "image"])[1].tolist() == pytest.approx([0, expected, 0])


def test_bm25_counts_a_word_as_often_as_the_text_has_it() -> None:
    index = Bm25Index(IDS, TEXTS)
    assert index.score(["image image"])[0, 1] == pytest.approx(2 * index.score(["image"])[0, 1])


def test_bm25_never_finds_a_label_that_shares_no_word() -> None:
    found = Bm25Index(IDS, TEXTS).search(["the web", "nothing here", ""], 2)
    assert found.label_ids.tolist() == [[7, NO_LABEL], [NO_LABEL, NO_LABEL], [NO_LABEL, NO_LABEL]]
    assert np.isneginf(found.scores[1:]).all()


def test_bm25_orders_equal_scores_by_label_number() -> None:
    found = Bm25Index(np.array([9, 2, 4], np.int32), ["red", "red", "blue"]).search(["red"], 3)
    assert found.label_ids.tolist() == [[2, 9, NO_LABEL]]


def test_bm25_search_is_as_wide_as_asked_even_past_the_labels() -> None:
    assert Bm25Index(IDS, TEXTS).search(["vim"], 10).label_ids.shape == (1, 10)


def test_bm25_takes_labels_without_a_word() -> None:
    assert Bm25Index(IDS, ["???", "vim", ""]).search(["vim"], 1).label_ids.tolist() == [[6]]


def test_tfidf_search_gives_the_same_to_the_last_bit_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    index = LexicalIndex(IDS, TEXTS)
    asked = ["the web server", "an editor of images", "painting", ""]
    whole = index.search(asked, 2)
    monkeypatch.setattr(lexical, "SCORE_CELLS", 3)
    found = index.search(asked, 2)
    assert np.array_equal(found.label_ids, whole.label_ids)
    assert np.array_equal(found.scores, whole.scores)
    assert whole.label_ids[:3, 0].tolist() == [7, 5, 6]


@given(st.lists(st.text("ab cé\tßΣİ.-\u200b\u00a0", max_size=30), min_size=1, max_size=4))
def test_tfidf_weighs_grams_as_the_vectoriser_does(texts: list[str]) -> None:
    fitted = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, dtype=np.float32)
    fitted.fit(["abab cé ba", "aß ΣΣ bab.-a", "i̇a b", "ab"])
    grams, wanted = WordGrams(fitted), fitted.transform(texts)
    for _ in range(2):  # the second time words are known
        found = grams.weigh(texts)
        assert found.shape == wanted.shape
        assert np.array_equal(found.toarray(), wanted.toarray())


def test_tfidf_forgets_words_when_it_knows_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "KNOWN_WORDS", 2)
    index, fresh = LexicalIndex(IDS, TEXTS), LexicalIndex(IDS, TEXTS)
    index.weigh(["a web server for the editor of images"])
    assert np.array_equal(index.weigh(["web images"]).toarray(), fresh.weigh(["web images"]).toarray())


def test_wording_index_changes_to_the_smaller_one_where_labels_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(wording_index(IDS, TEXTS), LexicalIndex)
    monkeypatch.setattr(lexical, "TFIDF_MOST_LABELS", 2)
    assert isinstance(wording_index(IDS, TEXTS), Bm25Index)
