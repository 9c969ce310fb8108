import json
from typing import Any

import polars as pl

from tasks.datasets.lf import DocumentReader, Rejects, merge_relevance, parse_filters, parse_labels


def lines(*values: Any) -> list[bytes]:
    return [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]


def reasons(rejects: Rejects) -> list[tuple[str, str]]:
    return [(row["source_key"], row["reject_reason"]) for row in rejects.rows]


def read(
    rejects: Rejects, *values: Any, labels: tuple[int, ...] = (0, 1, 2)
) -> tuple[pl.DataFrame, pl.DataFrame, DocumentReader]:
    reader = DocumentReader(labels, rejects)
    chunks = list(reader.read(lines(*values), "trn.json", "train"))
    return pl.concat([c.documents for c in chunks]), pl.concat([c.relevance for c in chunks]), reader


def test_parse_labels_numbers_labels_by_line_even_after_a_bad_one() -> None:
    rejects = Rejects("d")
    found = parse_labels(
        lines({"uid": "a", "title": "A"}, b"{broken", {"uid": "c", "title": "C", "content": "see"}), "lbl.json", rejects
    )
    assert found.select("label_id", "label_uid", "description_text").rows() == [(0, "a", ""), (2, "c", "see")]
    assert reasons(rejects) == [("lbl.json:1", "broken_line")]


def test_parse_labels_rejects_repeated_uids_and_empty_titles() -> None:
    rejects = Rejects("d")
    parse_labels(lines({"uid": "a", "title": "A"}, {"uid": "a", "title": "B"}, {"uid": "b", "title": " "}), "lbl.json", rejects)
    assert reasons(rejects) == [("lbl.json:1", "duplicate_label"), ("lbl.json:2", "empty_text")]


def test_read_joins_title_and_content_and_grades_missing_relevance_one() -> None:
    documents, relevance, _ = read(Rejects("d"), {"uid": "x", "title": "T", "content": "C", "target_ind": [2, 0]})
    assert documents["document_text"].to_list() == ["T\nC"]
    assert relevance.select("label_id", "relevance").rows() == [(2, 1.0), (0, 1.0)]


def test_read_rejects_an_unknown_label_but_keeps_its_document() -> None:
    rejects = Rejects("d")
    documents, relevance, _ = read(rejects, {"uid": "x", "title": "T", "target_ind": [1, 77]})
    assert documents.height == 1
    assert relevance["label_id"].to_list() == [1]
    assert reasons(rejects) == [("trn.json:0:label 77", "unknown_label")]


def test_read_rejects_broken_lines_empty_texts_and_repeated_documents() -> None:
    rejects = Rejects("d")
    good = {"uid": "x", "title": "T", "target_ind": []}
    documents, _, _ = read(
        rejects, b"not json", good, good, {"uid": "y", "title": "", "target_ind": [1]}, {"uid": "z", "title": "Z"},
        {"uid": "w", "title": "W", "target_ind": [1], "target_rel": [1, 2]},
    )  # fmt: skip
    assert documents["document_id"].to_list() == ["x"]
    assert [reason for _, reason in reasons(rejects)] == [
        "broken_line", "duplicate_document", "empty_text", "broken_line", "broken_line",
    ]  # fmt: skip


def test_read_names_documents_without_uid_by_their_line() -> None:
    documents, _, _ = read(Rejects("d"), {"title": "T", "target_ind": []})
    assert documents["document_id"].to_list() == ["train-0"]


def test_parse_filters_keeps_known_pairs_and_rejects_the_rest() -> None:
    rejects = Rejects("d")
    found = parse_filters([b"0 1\n", b"5 1\n", b"0 9\n", b"x\n", b"\n"], "f.txt", "train", {0: "doc"}, frozenset({1}), rejects)
    assert found.select("document_id", "label_id", "is_filtered").rows() == [("doc", 1, True)]
    assert reasons(rejects) == [("f.txt:1", "unknown_document"), ("f.txt:2", "unknown_label"), ("f.txt:3", "broken_line")]


def test_merge_relevance_leaves_out_a_target_that_is_filtered() -> None:
    _, targets, _ = read(Rejects("d"), {"uid": "x", "title": "T", "target_ind": [1, 2]})
    filters = parse_filters([b"0 2\n"], "f.txt", "train", {0: "x"}, frozenset({1, 2}), Rejects("d"))
    assert merge_relevance(targets, filters).select("label_id", "relevance", "is_filtered").rows() == [
        (1, 1.0, False),
        (2, 1.0, True),
    ]
