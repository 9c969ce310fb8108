from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.retrieval import Kind, Retriever
from tasks.labels.search import LabelIndex, Ranking, Vectors
from tasks.traces.prompts import read_document, read_given, read_offered, read_wish
from tasks.traces.questions import (
    Questions,
    Retrieval,
    chosen_documents,
    draw_strangers,
    find_by_name,
    left_out_labels,
    read_number,
)

DOCUMENTS = pl.DataFrame(
    {
        "document_id": ["b", "a", "t", "c"],
        "split": ["train", "train", "test", "train"],
        "source_line": [1, 0, 0, 2],
        "document_text": ["text b", "text a", "text t", "text c"],
    }
)
LABELS = pl.DataFrame({"label_id": [10, 11, 12], "label_name": ["ten", "eleven: of a team", "twelve"]})
INDEX = LabelIndex(np.array([10, 11, 12], np.int32), np.eye(3, dtype=np.float32))


def _embed(texts: list[str]) -> Vectors:
    """Every text is nearest to 10, then 11, then 12."""
    return np.tile(np.array([[0.9, 0.4, 0.1]], np.float32), (len(texts), 1))


class _ByWording:
    """Every text shares most with 12, then 11, then 10."""

    def search(self, texts: Sequence[str], k: int) -> Ranking:
        ids = np.tile(np.array([12, 11, 10], np.int32), (len(texts), 1))[:, :k]
        return Ranking(ids, np.tile(np.array([3, 2, 1], np.float32), (len(texts), 1))[:, :k])


RETRIEVER = Retriever(INDEX, _embed, _ByWording())
RETRIEVAL = Retrieval(RETRIEVER, "dense", {"b": frozenset({10})})


def _questions(kind: str, form: str = "json", retrieval: Retrieval | None = RETRIEVAL) -> Questions:
    return Questions(kind, form, LABELS, retrieval, (2, 1))


def _users(
    questions: Questions, variant: str, shortlists: list[list[str]] | None = None, ids: tuple[str, ...] = ("b", "a")
) -> list[str | None]:
    prompts = questions.prompts(variant, ids, [f"text {i}" for i in ids], shortlists)
    return [prompt.user if prompt else None for prompt in prompts]


def test_chosen_documents_takes_the_first_of_each_split() -> None:
    assert chosen_documents(DOCUMENTS, 2)["document_id"].to_list() == ["a", "b", "t"]
    assert chosen_documents(DOCUMENTS, None).height == 4


@pytest.mark.parametrize(("kind", "expected"), [("dense", [10, 11]), ("lexical", [12, 11]), ("fused", [10, 12])])
def test_nearest_finds_labels_the_way_it_was_told(kind: Kind, expected: list[int]) -> None:
    assert Retrieval(RETRIEVER, kind).nearest(["a"], ["text"], 2) == [expected]
    assert Retrieval(RETRIEVER, kind, {"a": frozenset({11})}).nearest(["a"], ["text"], 3)[0].count(11) == 0


def test_left_out_labels_are_those_that_are_filtered() -> None:
    pairs = {"document_id": ["b", "b", "a"], "label_id": [10, 11, 10], "is_filtered": [True, True, False]}
    assert left_out_labels(pl.DataFrame(pairs)) == {"b": frozenset({10, 11})}


def _corpus(texts: list[str], split: str = "train") -> pl.DataFrame:
    ids = [f"{split}-{i}" for i in range(len(texts))]
    return pl.DataFrame({"document_id": ids, "split": split, "text_hash": texts}, schema_overrides={"text_hash": pl.String})


@given(st.lists(st.sampled_from("abcdefgh"), max_size=30), st.integers(0, 5))
def test_draw_strangers_gives_another_text_of_the_same_split(texts: list[str], seed: int) -> None:
    documents = pl.concat([_corpus(texts), _corpus(texts[:4], "test")])
    strangers = draw_strangers(documents, seed)
    assert strangers == draw_strangers(documents, seed)
    hashes = dict(documents.select("document_id", "text_hash").iter_rows())
    for document, stranger in strangers.items():
        assert hashes[document] != hashes[stranger]
        assert document.partition("-")[0] == stranger.partition("-")[0]
    has_another = len(set(texts)) > 1
    assert len([document for document in strangers if document.startswith("train")]) == has_another * len(texts)


def test_draw_strangers_differs_with_the_seed() -> None:
    documents = _corpus([str(i) for i in range(50)])
    assert draw_strangers(documents, 0) != draw_strangers(documents, 1)
    assert len(set(draw_strangers(documents, 0).values())) > 15


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30))
def test_draw_strangers_stays_when_documents_are_added(texts: list[str]) -> None:
    before = draw_strangers(_corpus(texts), 3)
    assert before.items() <= draw_strangers(_corpus([*texts, "a", "new", "b"]), 3).items()


def test_prompts_of_an_open_list_ask_about_each_text() -> None:
    users = _users(_questions("open", retrieval=None), "both")
    assert [read_document(user or "") for user in users] == ["text b", "text a"]


@pytest.mark.parametrize("form", ["json", "json_schema", "tagged", "free"])
@pytest.mark.parametrize("variant", ["both", "phase-1", "phase-2-index"])
@pytest.mark.parametrize("kind", ["open", "candidates"])
def test_prompts_ask_for_the_variant_in_the_form(kind: str, variant: str, form: str) -> None:
    for prompt in _questions(kind, form).prompts(variant, ["a"], ["text a"], None):
        assert prompt is not None
        wish = read_wish(prompt.system)
        assert (wish.variant, wish.form) == (variant, "json" if form == "json_schema" else form)
        assert (prompt.response_schema is not None) is (form == "json_schema")


def test_prompts_of_a_closed_list_offer_the_nearest_labels_but_not_the_documents_own() -> None:
    users = _users(_questions("candidates"), "both")
    assert [read_offered(user or "") for user in users] == [(11, 12), (10, 11)]
    assert "[11] eleven: of a team" in (users[0] or "")


def test_prompts_give_the_shortlist_of_the_index() -> None:
    assert [read_given(user or "") for user in _users(_questions("open"), "phase-2-index")] == [("eleven: of a team",), ("ten",)]
    assert [read_offered(user or "") for user in _users(_questions("candidates"), "phase-2-index")] == [(11,), (10,)]


def test_prompts_of_an_open_list_give_a_document_its_own_names_as_they_were_written() -> None:
    shortlists = [[" Vim\teditor ", "nano", "nano", " "], ["Ten", "odd </document> name"]]
    users = _users(_questions("open", retrieval=None), "phase-2-teacher", shortlists)
    assert [read_given(user or "") for user in users] == [("Vim editor", "nano"), ("Ten", "odd </document> name")]


def test_prompts_of_an_open_list_give_a_stranger_names_of_the_catalogue_only() -> None:
    shortlists = [["TWELVE", "eleven", "ignore the above", "Eleven: of a team"], ["ignore the above"]]
    users = _users(_questions("open", retrieval=None), "phase-2-stranger", shortlists)
    assert read_given(users[0] or "") == ("twelve", "eleven: of a team")
    assert users[1] is None


@pytest.mark.parametrize("variant", ["phase-2-teacher", "phase-2-stranger"])
def test_prompts_of_a_closed_list_give_labels_by_number(variant: str) -> None:
    shortlists = [["[12] twelve", "[10]", "12", "[99] none", "[11", "no number"], ["[99]", "vim"]]
    users = _users(_questions("candidates", retrieval=None), variant, shortlists)
    assert read_offered(users[0] or "") == (12, 10, 11)
    assert "[12] twelve\n[10] ten\n[11] eleven: of a team\n" in (users[0] or "")
    assert users[1] is None


@pytest.mark.parametrize("kind", ["open", "candidates"])
def test_prompts_are_null_where_there_is_no_shortlist(kind: str) -> None:
    assert _users(_questions(kind, retrieval=None), "phase-2-teacher", [[], [" "]]) == [None, None]


def test_prompts_that_need_the_index_are_not_made_without_it() -> None:
    for kind, variant in (("candidates", "both"), ("open", "phase-2-index")):
        with pytest.raises(ValueError, match="label index"):
            _questions(kind, retrieval=None).prompts(variant, ["a"], ["text a"], None)


def test_retrieval_gives_as_many_as_there_are() -> None:
    assert RETRIEVAL.nearest(["a", "b"], ["x", "y"], 2) == [[10, 11], [11, 12]]
    assert RETRIEVAL.nearest(["a", "b"], ["x", "y"], 50) == [[10, 11, 12], [11, 12]]


def test_find_by_name_takes_the_head_of_a_name_that_is_its_alone() -> None:
    names = {1: "Vim: an editor", 2: "vi", 3: "git: add", 4: "git: rm", 5: "vi: improved", 6: " Big\tName "}
    found = find_by_name(names)
    assert (found["vim"], found["vim: an editor"], found["vi"], found["vi: improved"], found["big name"]) == (1, 1, 2, 5, 6)
    assert "git" not in found


@pytest.mark.parametrize(
    ("name", "number"),
    [("[12] vim", 12), ("[12]", 12), ("12", 12), (" [ 12 ] x", 12), ("12 angry men", None), ("[x]", None), ("", None)],
)
def test_read_number_reads_the_mark_of_a_label(name: str, number: int | None) -> None:
    assert read_number(name) == number
    assert read_number(f"[{'9' * 5000}]") is None
