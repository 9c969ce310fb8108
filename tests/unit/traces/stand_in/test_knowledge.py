import numpy as np
import polars as pl
import pytest

from tasks.traces.stand_in.knowledge import LabelGraph, WordVectors, cooccurrence_edges, unique_words


def _targets(*documents: tuple[int, ...]) -> pl.DataFrame:
    rows = [(str(i), label) for i, labels in enumerate(documents) for label in labels]
    return pl.DataFrame(rows, schema={"text_hash": pl.String, "label_id": pl.Int32}, orient="row")


def test_cooccurrence_edges_is_the_weighted_cosine() -> None:
    edges = cooccurrence_edges(_targets((1, 2), (1, 2, 3), (4,)))
    # 1 and 2 are together in all their documents; 3 shares one of weight 1/2: 0.5 / sqrt(1.5 * 0.5)
    assert [(a, b) for a, b, _ in edges.iter_rows()] == [(1, 2), (1, 3), (2, 3)]
    assert edges["weight"].to_list() == pytest.approx([1.0, 0.57735, 0.57735], abs=1e-5)


def test_cooccurrence_edges_does_not_depend_on_row_order() -> None:
    targets = _targets(*[tuple({i % 7, i % 5, i % 3}) for i in range(60)])
    assert cooccurrence_edges(targets).equals(cooccurrence_edges(targets.sample(fraction=1.0, shuffle=True, seed=1)))


def test_cooccurrence_edges_ignores_documents_with_too_many_targets() -> None:
    assert cooccurrence_edges(_targets(tuple(range(51)))).is_empty()


def test_label_graph_gives_both_directions_and_the_strongest_relation() -> None:
    graph = LabelGraph(4, np.array([0, 0, 2]), np.array([1, 2, 1]), np.array([0.5, 0.2, 0.9]))
    assert graph.neighbours(1) == {0: 0.5, 2: 0.9}
    assert graph.neighbours(3) == {}
    assert graph.related([0, 2]) == {1: 0.9}


def test_label_graph_concepts_move_towards_neighbours_and_stay_unit() -> None:
    graph = LabelGraph(2, np.array([0]), np.array([1]), np.array([0.5]))
    concepts = graph.concepts([0, 1], np.eye(2, dtype=np.float32).__getitem__)
    assert concepts == pytest.approx(np.full((2, 2), 0.5**0.5))
    alone = LabelGraph(2, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    assert alone.concepts([1], np.eye(2, dtype=np.float32).__getitem__) == pytest.approx(np.array([[0.0, 1.0]]))


def test_word_vectors_lean_to_the_texts_that_hold_the_word() -> None:
    texts = ["vim editor", "emacs editor", "apache server", "nginx server"]
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    words = WordVectors(texts, vectors)
    assert words.known_words("An Editor, a server and vim") == ["Editor", "server"]
    assert np.argmax(words.of(["Editor", "server"]), axis=1).tolist() == [0, 1]


def test_unique_words_drops_stop_words_and_repeats() -> None:
    assert unique_words("The C++ and the c++ libvisual-0.4.", as_written=True) == ["C++", "libvisual-0.4"]
