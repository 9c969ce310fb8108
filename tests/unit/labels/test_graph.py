import numpy as np
import pytest

from schemas.errors import IndexRefusedError
from tasks.labels.filling import PIVOTS, Store, fill_index, grow_graph, near_after_near, refuse_unusable
from tasks.labels.graph import GraphForm, GraphSetting, SearchGraph, new_graph
from tasks.labels.recall import Oracle, Recall, measure_recall
from tasks.labels.search import LabelIndex
from tasks.labels.tuning import Trial, cheapest, smallest_expansion, try_settings
from tasks.labels.vectors import StoredVectors
from tests.unit.labels.test_search import oracle_of, unit_rows

FORMS: tuple[GraphForm, ...] = ("i8", "f16", "b1")


def graph_of(vectors: np.ndarray, form: GraphForm = "i8", expansion: int = 256) -> SearchGraph:
    graph = new_graph(vectors, GraphSetting(form, 16, 64, expansion))
    grow_graph(graph, StoredVectors(vectors), np.ones(len(vectors), np.bool_), lambda done, total: None)
    return graph


def recall_at_10(vectors: np.ndarray, graph: SearchGraph, queries: np.ndarray) -> float:
    index = LabelIndex(np.arange(len(vectors), dtype=np.int32), vectors, graph.search)
    return measure_recall(index, oracle_of(vectors, queries, 10), (10,))[10].value


@pytest.mark.parametrize("form", FORMS)
def test_graph_finds_what_exact_search_finds(form: GraphForm) -> None:
    vectors = unit_rows(800, 64)
    assert recall_at_10(vectors, graph_of(vectors, form), unit_rows(40, 64, 1)) > 0.9


@pytest.mark.parametrize("form", FORMS)
def test_graph_gives_at_least_k_rows_and_minus_one_where_there_are_fewer(form: GraphForm) -> None:
    found = graph_of(unit_rows(5, 32), form).search(unit_rows(2, 32, 1), 3)
    assert found.shape == (2, 5)
    assert np.array_equal(np.sort(found, axis=1), np.tile(np.arange(5), (2, 1)))


@pytest.mark.parametrize("form", FORMS)
def test_one_query_alone_finds_what_it_finds_among_others(form: GraphForm) -> None:
    graph, queries = graph_of(unit_rows(200, 64), form), unit_rows(3, 64, 1)
    assert np.array_equal(graph.search(queries[:1], 5)[0], graph.search(queries, 5)[0])
    assert graph_of(unit_rows(5, 64), form).search(queries[:1], 9).shape == (1, 5)


def test_renumber_moves_and_removes_labels_and_grow_adds_some() -> None:
    old, new, queries = unit_rows(600, 64), unit_rows(100, 64, 5), unit_rows(40, 64, 1)
    graph = graph_of(old)
    new_rows = np.arange(600, dtype=np.int32)[::-1].copy()  # every label under another row
    new_rows[new_rows >= 550] = -1
    assert graph.renumber(new_rows) == 50
    vectors = np.concatenate([old[::-1][:550], new])
    grow_graph(graph, StoredVectors(vectors), np.arange(650) >= 550, lambda done, total: None)
    assert len(graph.index) == 650
    found = graph.search(queries, 10)
    assert found.max() == 649 or found.max() < 650
    assert recall_at_10(vectors, graph, queries) > 0.9
    assert recall_at_10(vectors, graph, new[:20]) > 0.9


def test_a_removed_label_is_never_found_again() -> None:
    vectors = unit_rows(300, 32)
    graph = graph_of(vectors)
    graph.renumber(np.where(np.arange(300) < 100, -1, np.arange(300)).astype(np.int32))
    assert graph.search(vectors[:100], 10).min() >= 100
    graph.renumber(np.where(np.arange(300) < 200, -1, np.arange(300)).astype(np.int32))
    assert len(graph.index) == 100


def test_fill_index_stores_counts_twins_and_knows_exact_answers() -> None:
    vectors = unit_rows(30, 16)
    vectors[9] = vectors[2]
    store = Store(np.zeros((30, 16), np.int8), np.zeros(30, np.float32), "int8")
    told: list[int] = []
    oracle = fill_index([vectors[:20], vectors[20:]], [""] * 30, store, vectors[:3], 4, lambda done, total: told.append(done))
    assert told == [20, 30]
    assert oracle.twin_of[9] == 2 and (oracle.twin_of == np.arange(30)).sum() == 29
    assert oracle.rows[0, 0] == 0
    assert np.abs(StoredVectors(store.codes, store.scales).block(0, 30) - vectors).max() < 0.01


def test_refuse_unusable_names_the_labels() -> None:
    vectors = unit_rows(3, 4)
    vectors[1] = np.nan
    with pytest.raises(IndexRefusedError, match=r"1 labels have no usable vector, e\.g\. \['nano'\]"):
        refuse_unusable(["vim", "nano", "ed"], vectors)


def setting(form: GraphForm, expansion: int) -> GraphSetting:
    return GraphSetting(form, 16, 64, expansion)


def test_cheapest_takes_the_fastest_that_reaches_and_else_the_best() -> None:
    trials = [
        Trial(setting("f16", 128), "int8", Recall(0.99, 0.98, 1.0), 0.9),
        Trial(setting("i8", 128), "int8", Recall(0.98, 0.97, 0.99), 0.4),
        Trial(setting("b1", 256), "int8", Recall(0.9, 0.89, 0.91), 0.1),
    ]
    assert cheapest(trials, 0.97) is trials[1]
    assert cheapest(trials, 0.975) is trials[0]
    assert cheapest(trials, 0.999) is trials[0]


def test_try_settings_stops_at_the_first_expansion_that_reaches_the_target() -> None:
    trials = try_settings(unit_rows(400, 32), unit_rows(30, 32, 1), 0.9, 32)
    assert {trial.setting.form for trial in trials} == {"i8", "f16", "b1"}
    easy = next(trial for trial in trials if trial.setting.form == "f16" and trial.vector_form == "float16")
    assert easy.recall.ci_low >= 0.9 and easy.setting.expansion_search < 4096


def test_smallest_expansion_widens_the_search_until_the_target_is_reached() -> None:
    vectors, queries = unit_rows(3000, 32), unit_rows(40, 32, 1)
    graph = new_graph(vectors, GraphSetting("f16", 4, 16, 128))
    graph.add(np.arange(3000, dtype=np.int32), vectors)
    index = LabelIndex(np.arange(3000, dtype=np.int32), vectors, graph.search)
    tried = smallest_expansion(index, graph, oracle_of(vectors, queries, 100), 0.9)
    expansions = list(tried)
    assert expansions == sorted(expansions) and expansions[0] == 128
    assert graph.expansion_search == expansions[-1] > 128
    assert tried[expansions[-1]].ci_low >= 0.9 > tried[expansions[0]].ci_low


def test_oracle_of_is_exact() -> None:
    oracle = oracle_of(np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)[:1], 1)
    assert isinstance(oracle, Oracle) and oracle.rows.tolist() == [[0]]


def test_near_after_near_holds_every_row_once_and_puts_near_ones_together() -> None:
    centres = unit_rows(20, 32)
    members = np.random.default_rng(0).integers(0, 20, 3 * PIVOTS)
    vectors = centres[members] + 0.01 * unit_rows(3 * PIVOTS, 32, 1)
    rows = np.arange(3 * PIVOTS, dtype=np.int32)
    ordered = near_after_near(StoredVectors(vectors.astype(np.float32)), rows)
    assert np.array_equal(np.sort(ordered), rows)
    changes = int((np.diff(members[ordered]) != 0).sum())
    assert changes < 60 < int((np.diff(members) != 0).sum())


def test_near_after_near_leaves_a_few_rows_as_they_are() -> None:
    assert near_after_near(StoredVectors(unit_rows(5, 8)), np.array([3, 1], np.int32)).tolist() == [3, 1]
