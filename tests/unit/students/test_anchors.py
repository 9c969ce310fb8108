import numpy as np
import polars as pl
import pytest

from tasks.students.anchors import POWER, PRIOR_DOCUMENTS, Anchors, read_anchors
from tasks.students.features import BUCKET_BITS, count_words, mark_words
from tasks.students.matrices import empty_matrix

IDS = ("a", "b", "c")
TEXTS = ["Fast video player with a library", "video library", "library of sounds"]
NAMES = {1: "library", 2: "player: plays films"}
COLUMNS = {
    "document_id": pl.String, "step_text": pl.String, "verdict": pl.String,
    "target_label_id": pl.Int32, "near_miss_label_id": pl.Int32,
}  # fmt: skip


def bucket(word: str) -> int:
    return int(count_words([word]).indices[0])


def anchors(rows: list[tuple[str, str, str, int | None, int | None]]) -> Anchors:
    return read_anchors(IDS, TEXTS, NAMES, pl.DataFrame(rows, schema=COLUMNS, orient="row"))


def cited(found: Anchors, row: int) -> set[int]:
    return set(found.cited[[row]].indices.tolist())


def test_read_anchors_are_words_of_the_document_that_verdicts_cite() -> None:
    found = anchors(
        [
            ("a", 'Keep: the words "video" and "fast" support it.', "keep", None, None),
            ("a", 'Let me think about the "player".', "none", None, None),
            ("b", 'the words "fast" and "video" speak for it', "drop", None, None),
            ("z", 'the word "video"', "keep", None, None),
        ]
    )
    assert cited(found, 0) == {bucket("video"), bucket("fast")}
    assert cited(found, 1) == {bucket("video")}  # "fast" does not stand there
    assert cited(found, 2) == set()
    assert set(found.cited.data.tolist()) == {1.0}


def test_read_anchors_passes_over_the_name_of_the_label_that_is_judged() -> None:
    found = anchors([("a", 'Keep library: "library" and "video" fit', "keep", 1, None), ("a", "drop player, fast", "drop", 1, 2)])
    assert cited(found, 0) == {bucket("video"), bucket("fast")}


def test_weights_follow_the_share_of_documents_in_which_a_word_is_cited() -> None:
    found = anchors([("a", '"video"', "keep", None, None), ("b", '"video"', "keep", None, None)])
    weights = found.weights()
    words = mark_words(TEXTS)
    share = 2 / words.nnz
    assert weights[bucket("video")] == pytest.approx(((2 + PRIOR_DOCUMENTS * share) / (2 + PRIOR_DOCUMENTS) / share) ** POWER)
    assert weights[bucket("video")] > 1 > weights[bucket("library")]
    assert weights[bucket("nowhere")] == 1
    pair = set(count_words(["video library"]).indices.tolist()) - {bucket("video"), bucket("library")}
    assert [weights[each] for each in pair] == [1]


def test_weights_are_even_where_nothing_is_cited() -> None:
    assert (anchors([]).weights() == 1).all()
    assert (Anchors(empty_matrix((0, 2**BUCKET_BITS)), empty_matrix((0, 2**BUCKET_BITS))).weights() == 1).all()


def test_drawn_weights_are_the_same_ones_at_words_as_frequent() -> None:
    found = anchors([("a", '"video" "fast"', "keep", None, None), ("b", '"video"', "keep", None, None)])
    weights, drawn = found.weights(), found.drawn_weights(np.random.default_rng(0))
    held = np.bincount(found.held.indices, minlength=2**BUCKET_BITS)
    assert (weights != drawn).any()
    for count in range(4):
        np.testing.assert_array_equal(np.sort(drawn[held == count]), np.sort(weights[held == count]))
    np.testing.assert_array_equal(drawn, found.drawn_weights(np.random.default_rng(0)))
