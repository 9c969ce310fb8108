"""Compaction moves records to Parquet; at no moment is the only copy half-written, and none is read twice."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import warehouse.journal
import warehouse.journal_parts
from schemas.errors import StorageError
from tests.support.journals import full_disk, key, line, record, stored
from warehouse.journal import open_journal
from warehouse.journal_parts import COLUMNS, Part, fitted
from warehouse.layout import parts_dir


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _filled(path: Path, *lines: str) -> Path:
    with open_journal(path) as journal:
        journal.append(lines)
    return path


def _part(path: Path, number: int = 1) -> Path:
    return parts_dir(path) / f"part-{number:06d}.parquet"


def test_compact_moves_every_record_and_changes_none(tmp_path: Path) -> None:
    path = _filled(tmp_path / "j.jsonl", *(line(n) for n in range(5)))
    with open_journal(path) as journal:
        assert journal.compact() == 5
        assert path.read_bytes() == b""
        assert list(journal.entries()) == [_known(record(n)) for n in range(5)]
        assert {name: json.loads(text) for name, text in journal.read([key(3), key(9)]).items()} == {key(3): _known(record(3))}


def test_compact_writes_the_typed_columns_of_raw_traces(tmp_path: Path) -> None:
    with open_journal(_filled(tmp_path / "j.jsonl", line("a"))) as journal:
        journal.compact()
    frame = pl.read_parquet(_part(tmp_path / "j.jsonl"))
    assert dict(frame.schema) == COLUMNS
    assert frame["asked_at"].dt.to_string("iso").to_list() == ["2026-11-01 10:00:00.000120+00:00"]


def test_compact_of_an_empty_journal_makes_no_part(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.jsonl") as journal:
        assert journal.compact() == 0
    assert not parts_dir(tmp_path / "j.jsonl").exists()


def test_compact_again_makes_another_part_and_the_newest_record_counts(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.jsonl") as journal:
        for attempt, text in enumerate(("first", "second", "third"), 1):
            journal.append([line("a", completion_text=text, attempt_count=attempt), line(text)])
            assert json.loads(journal.read([key("a")])[key("a")])["completion_text"] == text
            if text != "third":
                journal.compact()
                assert json.loads(journal.read([key("a")])[key("a")])["completion_text"] == text
        assert [entry["request_hash"] for entry in journal.entries()] == [
            key(name) for name in ("a", "first", "a", "second", "a", "third")
        ]
        assert journal.line_count == 2
    assert _part(tmp_path / "j.jsonl", 2).exists()


@pytest.mark.parametrize(
    "values",
    [
        {"prompt_tokens": "many"},
        {"prompt_tokens": True},
        {"prompt_tokens": 1 << 63},
        {"prompt_tokens": 1.5},
        {"sample_index": 1 << 31},
        {"cost_usd": "0.1"},
        {"asked_at": "yesterday"},
        {"asked_at": "2026-11-01T10:00:00"},
        {"asked_at": 5},
        {"completion_text": ["parts"]},
        {"column_of_a_later_version": 1},
    ],
)
def test_compact_leaves_a_line_that_does_not_fit_and_later_ones_of_its_key(tmp_path: Path, values: dict[str, Any]) -> None:
    odd, later = line("odd", **values), line("odd", completion_text="later")
    path = _filled(tmp_path / "j.jsonl", line("a"), odd, line("b"), later, "damaged {")
    with open_journal(path) as journal:
        assert journal.compact() == 2
        assert path.read_text() == f"{odd}\n{later}\ndamaged {{\n"
        assert journal.line_count == 3
        journal.append([line("c")])
        assert journal.read([key("odd"), key("c")]) == {key("odd"): later, key("c"): line("c")}
    assert [name for name, _ in stored(path)] == [key(name) for name in ("a", "b", "odd", "odd", "c")]
    assert path.read_text() == f"{odd}\n{later}\ndamaged {{\n{line('c')}\n"


def test_compact_gives_records_of_an_older_version_the_meaning_they_had(tmp_path: Path) -> None:
    old = {"request_hash": key("old"), "asked_at": "2026-01-01T00:00:00+02:00", "attempt_count": 1, "completion_text": "text"}
    with open_journal(_filled(tmp_path / "j.jsonl", json.dumps(old))) as journal:
        journal.compact()
        assert list(journal.entries()) == [
            old | {"asked_at": "2025-12-31T22:00:00.000000Z", "variant": "both", "asked_form": "json"}
        ]


def test_records_of_a_part_without_the_newer_columns_are_read(tmp_path: Path) -> None:
    path = _part(tmp_path / "j.jsonl")
    path.parent.mkdir()
    pl.DataFrame({"request_hash": [key("a")], "completion_text": ["text"]}).write_parquet(path)
    whole = {"request_hash": key("a"), "completion_text": "text", "variant": "both", "asked_form": "json"}
    with open_journal(tmp_path / "j.jsonl") as journal:
        assert list(journal.entries(["cost_usd", "completion_text"])) == [whole]
        assert json.loads(journal.read([key("a")])[key("a")]) == whole


def test_entries_reads_only_the_asked_columns_of_a_part(tmp_path: Path) -> None:
    with open_journal(_filled(tmp_path / "j.jsonl", line("a"))) as journal:
        journal.compact()
        assert "completion_text" not in next(journal.entries(["cost_usd"]))
        assert next(journal.entries(["cost_usd"]))["cost_usd"] == 0.25


def test_read_finds_records_in_many_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse.journal_parts, "GROUP_BYTES", 1500)
    with open_journal(_filled(tmp_path / "j.jsonl", *(line(n) for n in range(40)))) as journal:
        journal.compact()
        found = journal.read([key(n) for n in (39, 0, 17, 18, 3)])
    assert {json.loads(text)["completion_text"] for text in found.values()} == {
        record(n)["completion_text"] for n in (39, 0, 17, 18, 3)
    }
    assert len(set(Part(_part(tmp_path / "j.jsonl")).keys())) == 40


def test_records_that_stand_in_a_part_and_in_lines_count_once(tmp_path: Path) -> None:
    path = _filled(tmp_path / "j.jsonl", line("a"), line("a", attempt_count=2), line("b"))
    before = path.read_bytes()
    with open_journal(path) as journal:
        journal.compact()
        journal.append([line("c")])
    path.write_bytes(before + path.read_bytes())
    assert [name for name, _ in stored(path)] == [key(name) for name in ("a", "a", "b", "c")]


def test_open_journal_finishes_a_compaction_that_was_killed_before_the_lines_went(tmp_path: Path) -> None:
    odd = line("odd", prompt_tokens="many")
    path = _filled(tmp_path / "j.jsonl", line("a"), odd, line("b"))
    before = path.read_bytes()
    with open_journal(path) as journal:
        journal.compact()
    path.write_bytes(before)
    assert [name for name, _ in stored(path)] == [key(name) for name in ("a", "b", "odd")]
    assert path.read_text() == f"{odd}\n"


def test_open_journal_leaves_lines_of_the_same_length_that_no_part_holds(tmp_path: Path) -> None:
    path = _filled(tmp_path / "j.jsonl", line("a"), line("b"))
    with open_journal(path) as journal:
        journal.compact()
        journal.append([line("a", attempt_count=2), line("b", attempt_count=3)])
    lines = path.read_bytes()
    assert Part(_part(path)).source_bytes == len(lines)
    assert [name for name, _ in stored(path)] == [key(name) for name in ("a", "b", "a", "b")]
    assert path.read_bytes() == lines


def test_open_journal_removes_what_killed_writes_left(tmp_path: Path) -> None:
    path = _filled(tmp_path / "j.jsonl", line("a"))
    with open_journal(path) as journal:
        journal.compact()
    leftovers = [parts_dir(path) / "part-000002.parquet.tmp-1", tmp_path / "j.jsonl.tmp-1"]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    assert stored(path) == [(key("a"), record("a")["completion_text"])]
    assert not any(leftover.exists() for leftover in leftovers)


def test_compact_keeps_the_lines_if_the_part_is_not_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _filled(tmp_path / "j.jsonl", line("a"), line("b"))
    before = path.read_bytes()

    def wrong(lines: Any) -> Any:
        return ((fitted(record("a", completion_text="other")), 1) for _ in range(2))

    monkeypatch.setattr(warehouse.journal, "movable", wrong)
    with open_journal(path) as journal, pytest.raises(StorageError, match="was not written as it should be"):
        journal.compact()
    assert path.read_bytes() == before
    assert not _part(path).exists()


def test_compact_keeps_the_lines_if_the_disk_is_full(tmp_path: Path) -> None:
    path = _filled(tmp_path / "j.jsonl", *(line(n) for n in range(9)))
    before = path.read_bytes()
    with open_journal(path) as journal:
        with full_disk(100), pytest.raises(StorageError, match="cannot write"):
            journal.compact()
        assert path.read_bytes() == before
        assert list(parts_dir(path).iterdir()) == []
        assert journal.compact() == 9
    assert len(stored(path)) == 9


def test_a_damaged_part_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = _filled(tmp_path / "j.jsonl", line("a", completion_text="unique text " * 50))
    with open_journal(path) as journal:
        journal.compact()
    content = _part(path).read_bytes()
    for damaged in (content[: len(content) // 2], content[:300] + b"\xff" * 20 + content[320:], b""):
        _part(path).write_bytes(damaged)
        with pytest.raises(StorageError, match=r"part-000001\.parquet: cannot read.*move it away"):
            stored(path)
