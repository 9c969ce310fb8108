from collections.abc import Sequence

import numpy as np
import pytest

from schemas.errors import ConfigError
from tasks.labels import retrieval
from tasks.labels.retrieval import Kind, Retriever, leave_out
from tasks.labels.search import NO_LABEL, LabelIndex, Ranking, Vectors

IDS = np.array([10, 11, 12, 13], np.int32)
AXES = np.eye(4, dtype=np.float32)
TEXTS = {"first": [0.9, 0.4, 0.1, 0.0], "second": [0.0, 0.1, 0.4, 0.9]}


def embed(texts: Sequence[str]) -> Vectors:
    return np.array([TEXTS[text] for text in texts], np.float32)


class Backwards:
    """Finds the labels in falling order of their number, whatever the text; records the widths it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def search(self, texts: Sequence[str], k: int) -> Ranking:
        self.asked.append(k)
        ids = np.tile(IDS[::-1], (len(texts), 1))[:, :k]
        return Ranking(ids, np.tile(np.array([4, 3, 2, 1], np.float32), (len(texts), 1))[:, :k])


def make_retriever() -> Retriever:
    return Retriever(LabelIndex(IDS, AXES), embed, Backwards())


def test_retrieve_dense_ranks_by_cosine() -> None:
    found = make_retriever().retrieve("dense", ["a", "b"], ["first", "second"], 2)
    assert found.label_ids.tolist() == [[10, 11], [13, 12]]
    assert found.scores[0].tolist() == pytest.approx([0.9, 0.4])


def test_retrieve_lexical_asks_the_text_index() -> None:
    assert make_retriever().retrieve("lexical", ["a"], ["first"], 2).label_ids.tolist() == [[13, 12]]


def test_retrieve_fused_prefers_what_both_find_early() -> None:
    found = make_retriever().retrieve("fused", ["b"], ["second"], 4)
    assert found.label_ids.tolist() == [[13, 12, 11, 10]]
    assert found.scores[0, 0] == pytest.approx(2 / 61)


@pytest.mark.parametrize("kind", ["dense", "lexical", "fused"])
def test_retrieve_removes_left_out_labels_before_the_cut(kind: Kind) -> None:
    found = make_retriever().retrieve(kind, ["a", "b"], ["first", "second"], 2, {"b": frozenset({13, 12})})
    assert found.label_ids.shape == (2, 2)
    assert not {12, 13} & set(found.label_ids[1].tolist())
    assert NO_LABEL not in found.label_ids
    assert {12, 13} & set(found.label_ids[0].tolist()) or kind == "dense"


def test_retrieve_pads_where_all_labels_are_left_out() -> None:
    found = make_retriever().retrieve("dense", ["a"], ["first"], 3, {"a": set(IDS.tolist())})
    assert found.label_ids.tolist() == [[NO_LABEL] * 3]


def test_retrieve_blocks_give_the_same_lists_as_one_search(monkeypatch: pytest.MonkeyPatch) -> None:
    ids, texts = ["a", "b", "c"], ["first", "second", "first"]
    whole = make_retriever().retrieve("fused", ids, texts, 3, {"c": {10}})
    monkeypatch.setattr(retrieval, "QUERY_BLOCK", 2)
    blocks = list(make_retriever().retrieve_blocks("fused", ids, texts, 3, {"c": {10}}))
    assert [len(block.label_ids) for block in blocks] == [2, 1]
    assert np.concatenate([block.label_ids for block in blocks]).tolist() == whole.label_ids.tolist()


def test_retrieve_searches_wider_only_where_a_block_leaves_labels_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "QUERY_BLOCK", 1)
    lexical = Backwards()
    Retriever(lexical=lexical).retrieve("lexical", ["a", "b"], ["first", "second"], 2, {"b": {13}})
    assert lexical.asked == [2, 3]


def test_retrieve_of_no_document_is_an_empty_ranking() -> None:
    assert make_retriever().retrieve("fused", [], [], 5).label_ids.shape == (0, 5)


@pytest.mark.parametrize(("kind", "missing"), [("dense", "embedder"), ("lexical", "text index"), ("fused", "embedder")])
def test_retrieve_names_the_part_it_lacks(kind: Kind, missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        Retriever().retrieve(kind, ["a"], ["first"], 1)


def test_retrieve_refuses_counts_that_differ_and_an_empty_list() -> None:
    with pytest.raises(ConfigError, match="2 document ids but 1 texts"):
        make_retriever().retrieve("dense", ["a", "b"], ["first"], 1)
    with pytest.raises(ConfigError, match="k = 0"):
        make_retriever().retrieve("dense", ["a"], ["first"], 0)


def test_leave_out_keeps_order_and_scores() -> None:
    ranking = Ranking(np.array([[3, 1, 2]], np.int32), np.array([[0.9, 0.8, 0.7]], np.float32))
    found = leave_out(ranking, [{1}], 3)
    assert found.label_ids.tolist() == [[3, 2, NO_LABEL]]
    assert found.scores[0, :2].tolist() == pytest.approx([0.9, 0.7])
    assert np.isneginf(found.scores[0, 2])
