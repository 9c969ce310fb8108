import numpy as np
import pytest

from schemas.errors import ConfigError, EmptyTargetError
from tasks.labels.fusion import fuse_rankings
from tasks.labels.lexical import LexicalIndex
from tasks.labels.recall import Oracle, Recall, first_twins, measure_recall, overlap_per_query, unusable_rows
from tasks.labels.search import LABEL_BLOCK, NO_LABEL, LabelIndex, NearestSoFar, Ranking, top_columns, top_scores


def unit_rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def test_search_finds_every_label_as_its_own_nearest_neighbour() -> None:
    vectors = unit_rows(300, 16)
    index = LabelIndex(np.arange(300, dtype=np.int32) * 2, vectors)
    assert index.search(vectors, 1).label_ids[:, 0].tolist() == list(range(0, 600, 2))


def test_search_pads_lists_that_are_longer_than_the_index() -> None:
    found = LabelIndex(np.array([4, 9], np.int32), unit_rows(2, 4)).search(unit_rows(1, 4, 1), 4)
    assert sorted(found.label_ids[0, :2].tolist()) == [4, 9]
    assert found.label_ids[0, 2:].tolist() == [NO_LABEL, NO_LABEL]
    assert np.isneginf(found.scores[0, 2:]).all()


def test_search_of_more_labels_than_a_block_holds_finds_the_best_of_all_blocks() -> None:
    vectors = unit_rows(LABEL_BLOCK + 300, 4)
    index = LabelIndex(np.arange(len(vectors), dtype=np.int32), vectors)
    query = vectors[[LABEL_BLOCK + 7]]
    found = index.search(query, 5)
    assert found.label_ids[0, 0] == LABEL_BLOCK + 7
    assert found.label_ids[0].tolist() == np.argsort(-(vectors @ query[0]), kind="stable")[:5].tolist()


def test_rows_of_refuses_labels_that_are_not_in_the_index() -> None:
    index = LabelIndex(np.array([30, 10, 20], np.int32), unit_rows(3, 4))
    with pytest.raises(ConfigError, match=r"2 of 3 label ids are not among its 3 labels, e\.g\. \[11, 40\]"):
        index.rows_of([10, 11, 40])


def test_search_with_approximate_candidates_rescores_them_exactly() -> None:
    vectors = unit_rows(50, 8)
    last_rows = np.arange(49, -1, -1, dtype=np.int32)
    reverse = LabelIndex(np.arange(50, dtype=np.int32), vectors, lambda queries, k: np.tile(last_rows[:k], (len(queries), 1)))
    queries = unit_rows(3, 8, 2)
    found = reverse.search(queries, 5)
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert found.scores[0, 0] == pytest.approx(float(queries[0] @ vectors[found.label_ids[0, 0]]), abs=1e-6)


def test_label_index_refuses_counts_that_differ() -> None:
    with pytest.raises(ConfigError, match="2 labels but 3 vectors"):
        LabelIndex(np.array([1, 2], np.int32), unit_rows(3, 4))


@pytest.mark.parametrize(("column_count", "count"), [(1, 0), (1, 1), (7, 3), (64, 4), (65, 4), (500, 7), (500, 500)])
@pytest.mark.parametrize("kinds", [3, 10**6])
def test_top_columns_are_those_of_the_largest_cells(column_count: int, count: int, kinds: int) -> None:
    drawn = np.random.default_rng(column_count).integers(0, kinds, size=(20, column_count)).astype(np.float32)
    drawn[3] = -np.inf
    drawn[4, 1:] = -np.inf
    found = top_columns(drawn, count)
    assert found.shape == (20, count)
    assert all(len(set(row)) == count for row in found.tolist())
    wanted = np.sort(drawn, axis=1)[:, column_count - count :]
    assert np.array_equal(np.sort(np.take_along_axis(drawn, found, 1), axis=1), wanted)


def test_top_columns_of_no_row_are_none() -> None:
    assert top_columns(np.zeros((0, 100), np.float32), 3).shape == (0, 3)


def test_top_scores_breaks_ties_by_label_number() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.5]], np.float32)
    assert top_scores(scores, np.array([8, 1, 3, 5], np.int32), 4).label_ids.tolist() == [[1, 3, 5, 8]]


def test_vectors_of_returns_rows_in_the_order_asked() -> None:
    vectors = unit_rows(3, 4)
    index = LabelIndex(np.array([30, 10, 20], np.int32), vectors)
    assert np.array_equal(index.vectors_of([10, 30]), vectors[[1, 0]])


def test_overlap_per_query_counts_what_exact_search_finds_too() -> None:
    found = Ranking(np.array([[1, 2, 3]], np.int32), np.zeros((1, 3), np.float32))
    exact = Ranking(np.array([[3, 4, 1]], np.int32), np.zeros((1, 3), np.float32))
    assert overlap_per_query(found, exact, 3).tolist() == [pytest.approx(2 / 3)]


def oracle_of(vectors: np.ndarray, queries: np.ndarray, k: int) -> Oracle:
    nearest = NearestSoFar(queries, k)
    rows = np.arange(len(vectors), dtype=np.int32)
    nearest.see(rows, vectors)
    return Oracle(queries, nearest.ranking.label_ids, rows)


def test_measure_recall_is_one_for_an_exact_index() -> None:
    vectors, queries = unit_rows(40, 8), unit_rows(5, 8, 3)
    found = measure_recall(LabelIndex(np.arange(40, dtype=np.int32) * 3, vectors), oracle_of(vectors, queries, 10), (5, 10))
    assert found == {5: Recall(1.0, 1.0, 1.0), 10: Recall(1.0, 1.0, 1.0)}


def test_measure_recall_counts_what_is_missed() -> None:
    vectors, queries = unit_rows(40, 8), unit_rows(30, 8, 3)
    oracle = oracle_of(vectors, queries, 4)
    half = LabelIndex(np.arange(40, dtype=np.int32), vectors, lambda q, k: np.where(np.arange(4) < 2, oracle.rows, -1))
    found = measure_recall(half, oracle, (4,))[4]
    assert (found.value, found.ci_low, found.ci_high) == (0.5, 0.5, 0.5)


def test_measure_recall_takes_one_twin_for_another() -> None:
    vectors = np.repeat(unit_rows(2, 8), 3, axis=0)
    oracle = oracle_of(vectors, vectors[:1], 2)
    last = LabelIndex(np.arange(6, dtype=np.int32), vectors, lambda q, k: np.array([[2, 1]], np.int32))
    assert measure_recall(last, oracle, (2,))[2].value == 0.5
    with_twins = Oracle(oracle.queries, oracle.rows, np.array([0, 0, 0, 3, 3, 3], np.int32))
    assert measure_recall(last, with_twins, (2,))[2].value == 1.0


def test_measure_recall_of_no_queries_is_undefined() -> None:
    vectors, none = unit_rows(4, 8), np.zeros((0, 8), np.float32)
    with pytest.raises(EmptyTargetError, match="no document"):
        measure_recall(LabelIndex(np.arange(4, dtype=np.int32), vectors), oracle_of(vectors, none, 2), (2,))


def test_first_twins_are_the_first_rows_of_a_hash() -> None:
    assert first_twins(np.array([7, 5, 7, 9, 5], np.uint64)).tolist() == [0, 1, 0, 3, 1]


def test_unusable_rows_names_nan_and_zero_vectors() -> None:
    vectors = unit_rows(4, 3)
    vectors[1], vectors[3, 0] = 0, np.nan
    assert unusable_rows(vectors).tolist() == [1, 3]


def test_fuse_rankings_prefers_what_both_lists_hold() -> None:
    first = Ranking(np.array([[1, 2, 3]], np.int32), np.zeros((1, 3), np.float32))
    second = Ranking(np.array([[4, 2, NO_LABEL]], np.int32), np.zeros((1, 3), np.float32))
    fused = fuse_rankings([first, second], 5)
    assert fused.label_ids.tolist() == [[2, 1, 4, 3, NO_LABEL]]
    assert fused.scores[0, 0] == pytest.approx(2 / 62)


def test_lexical_index_ranks_the_label_that_shares_words_first() -> None:
    index = LexicalIndex(np.array([5, 6, 7], np.int32), ["vim: an editor", "gimp: image painting", "nginx: web server"])
    found = index.search(["a program for painting an image"], 3)
    assert found.label_ids[0, 0] == 6
    assert 0 < found.scores[0, 0] <= 1
