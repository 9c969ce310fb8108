from collections.abc import Callable
from dataclasses import replace

import duckdb
import polars as pl
import pytest

from schemas.checks import RowRule
from schemas.tables import CORE_DOCUMENTS, CORE_PREDICTIONS, TABLES, Table
from tasks.checks.profile import Measurement, parquet_relation, profile_table, unreadable_table

DOCUMENTS = CORE_DOCUMENTS.conform(
    pl.DataFrame({"document_id": ["d1", "d2"], "title_text": ["a", "b"], "document_text": ["a\nx", "b\ny"]}).with_columns(
        dataset=pl.lit("tiny"), split=pl.lit("train"), source_line=pl.lit(None), text_hash=pl.col("document_id")
    )
)
LABELS = TABLES["core_labels"].conform(
    pl.DataFrame({"label_id": [0, 1]}).with_columns(
        dataset=pl.lit("tiny"),
        label_uid=pl.col("label_id").cast(pl.String),
        label_name=pl.lit("name"),
        description_text=pl.lit(""),
        text_hash=pl.lit("h"),
    )
)
PREDICTIONS = CORE_PREDICTIONS.conform(
    pl.DataFrame({"document_id": ["d1", "d1", "d2", "d2"], "rank": [1, 2, 1, 2], "label_id": [0, 1, 1, 0]}).with_columns(
        dataset=pl.lit("tiny"), system=pl.lit("lexical"), seed=pl.lit(0), score=pl.lit(0.5)
    )
)


def profile(frame: pl.DataFrame, table: Table = CORE_PREDICTIONS, **others: pl.DataFrame) -> dict[str, Measurement]:
    frames = {"core_documents": DOCUMENTS, "core_labels": LABELS, table.name: frame} | others
    with duckdb.connect() as connection:
        for name, other in frames.items():
            connection.register(name, other)
        found = profile_table(connection, {name: name for name in frames}, table, frame.schema)
    return {m.expectation.meaning: m for m in found}


def broken(profiled: dict[str, Measurement]) -> dict[str, int | None]:
    return {meaning: m.unexpected_count for meaning, m in profiled.items() if m.unexpected_frac != 0}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_profile_table_can_run_every_rule_of_every_table(table: Table) -> None:
    with duckdb.connect() as connection:
        for other in TABLES.values():
            connection.register(other.name, other.empty())
        found = profile_table(connection, {name: name for name in TABLES}, table, table.schema)
    assert [m.note for m in found if m.unexpected_frac is None] == []


def test_profile_table_finds_nothing_in_a_good_table() -> None:
    assert broken(profile(PREDICTIONS)) == {}


def test_profile_table_counts_rows_that_share_a_key_and_names_it() -> None:
    doubled = pl.concat([PREDICTIONS, PREDICTIONS.head(1)])
    found = profile(doubled)["the key (dataset, system, seed, document_id, rank) names one row"]
    assert (found.unexpected_count, found.row_count, found.unexpected_frac) == (2, 5, 0.4)
    assert found.example_keys == ("dataset=tiny, system=lexical, seed=0, document_id=d1, rank=1",)


def test_profile_table_counts_dangling_references_but_not_null_ones() -> None:
    frame = PREDICTIONS.with_columns(label_id=pl.Series([0, 7, None, 8], dtype=pl.Int32))
    found = profile(frame)
    assert found["label_id occurs in core_labels"].unexpected_count == 2
    assert found["label_id is not null"].unexpected_count == 1
    assert found["document_id occurs in core_documents"].unexpected_count == 0


def test_profile_table_does_not_take_another_dataset_for_a_reference() -> None:
    elsewhere = DOCUMENTS.with_columns(dataset=pl.lit("other"))
    found = profile(PREDICTIONS, core_documents=elsewhere)["document_id occurs in core_documents"]
    assert found.unexpected_count == 4


def test_profile_table_gives_the_three_smallest_keys() -> None:
    frame = PREDICTIONS.with_columns(score=pl.lit(float("nan")))
    found = profile(frame)["scores are finite"]
    assert [key.split("document_id=")[1] for key in found.example_keys] == ["d1, rank=1", "d1, rank=2", "d2, rank=1"]


def test_profile_table_counts_a_row_whose_condition_is_null() -> None:
    rule = RowRule("score", "score >= 0", "scores are not negative")
    frame = PREDICTIONS.with_columns(score=pl.Series([0.1, None, 0.2, 0.3]))
    found = profile(frame, replace(CORE_PREDICTIONS, rules=(rule,)))
    assert found["scores are not negative"].unexpected_count == 1


def test_profile_table_tells_a_rule_it_cannot_run_from_a_broken_one() -> None:
    rules = (
        RowRule("score", "no_such_column > 0", "cannot run"),
        RowRule("system", "system > 3", "wrong type"),
        RowRule("rank", "rank > 1", "broken"),
    )
    found = profile(PREDICTIONS, replace(CORE_PREDICTIONS, rules=rules))
    assert "no_such_column" in found["cannot run"].note
    assert found["cannot run"].unexpected_count is None
    assert found["wrong type"].unexpected_frac is None
    assert (found["broken"].unexpected_count, found["broken"].note) == (2, "")


def test_profile_table_cannot_run_a_reference_into_a_table_it_was_not_given() -> None:
    with duckdb.connect() as connection:
        connection.register("core_predictions", PREDICTIONS)
        found = profile_table(connection, {"core_predictions": "core_predictions"}, CORE_PREDICTIONS, PREDICTIONS.schema)
    unknown = {m.expectation.meaning: m.note for m in found if m.unexpected_frac is None}
    assert unknown == {
        "document_id occurs in core_documents": "core_documents is not among the tables given to the check",
        "label_id occurs in core_labels": "core_labels is not among the tables given to the check",
    }


def test_profile_table_reports_a_wrong_type_for_every_row_with_what_it_saw() -> None:
    found = profile(PREDICTIONS.with_columns(pl.col("label_id").cast(pl.Int64)))["label_id is there, with type Int32"]
    assert (found.unexpected_count, found.unexpected_frac, found.note) == (4, 1.0, "the file has Int64")
    assert len(found.example_keys) == 3


def test_profile_table_reports_a_wrong_type_also_in_an_empty_table() -> None:
    found = profile(PREDICTIONS.clear().drop("score"))
    assert found["score is there, with type Float64"].unexpected_frac == 1.0


def test_profile_table_names_rows_by_what_is_left_of_the_key() -> None:
    found = profile(PREDICTIONS.drop("rank"))["rank is there, with type Int32"]
    assert found.note == "the file has no such column"
    assert found.example_keys[0] == "dataset=tiny, system=lexical, seed=0, document_id=d1"


@pytest.mark.parametrize("change", [lambda f: f.with_columns(extra=1), lambda f: f.select(sorted(f.columns))])
def test_profile_table_reports_extra_columns_and_another_order(change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    assert broken(profile(change(PREDICTIONS))) == {"no undeclared columns, and the declared order": 4}


def test_profile_table_counts_the_rows_that_are_missing() -> None:
    assert broken(profile(PREDICTIONS.clear())) == {"the table has at least 1 row": 1}


def test_profile_table_cuts_a_long_key() -> None:
    frame = DOCUMENTS.with_columns(document_id=pl.lit("x" * 500), document_text=pl.lit(" "))
    found = profile(frame, CORE_DOCUMENTS)["the document has text"]
    assert found.example_keys[0].endswith("x…")
    assert len(found.example_keys[0]) < 150


def test_unreadable_table_has_no_count_but_a_reason_for_every_expectation() -> None:
    found = unreadable_table(CORE_DOCUMENTS, "the file is gone")
    assert {(m.unexpected_count, m.unexpected_frac, m.row_count, m.note) for m in found} == {
        (None, None, None, "the file is gone")
    }
    assert len(found) == len(profile(DOCUMENTS, CORE_DOCUMENTS))


def test_parquet_relation_takes_a_path_for_what_it_is() -> None:
    assert parquet_relation("/a/it's [1]*.parquet") == "read_parquet('/a/it''s [[]1][*].parquet', hive_partitioning = false)"
    assert parquet_relation("/a/parts", is_folder=True).startswith("read_parquet('/a/parts/*.parquet'")
