"""The journal survives a kill at any byte, a full disk and a second process."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.errors import StorageError
from tests.support.journals import full_disk, key, line, record, stored
from warehouse.journal import open_journal

NOBODY = 65534


def _line(name: str, text: str = "answer") -> str:
    return json.dumps({"request_hash": name, "completion_text": text}, ensure_ascii=False)


def _keys(path: Path) -> list[str]:
    with open_journal(path) as journal:
        return sorted(journal.read({"a", "b", "c", "d"}))


@pytest.fixture
def shared_dir() -> Iterator[Path]:
    """A folder that any user can reach: the test may then be one who cannot write."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Not as root, who may write read-only files."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_read_gives_the_newest_line_of_wanted_keys(tmp_path: Path) -> None:
    with open_journal(tmp_path / "deep" / "j.jsonl") as journal:
        journal.append([_line("a", "old"), _line("b"), _line("a", "new ü\u2028line")])
        found = journal.read({"a", "missing"})
    assert found == {"a": _line("a", "new ü\u2028line")}


def test_read_knows_what_was_appended_after_an_earlier_read(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.jsonl") as journal:
        journal.append([line("a"), line("b")])
        assert set(journal.read([key("a"), key("c")])) == {key("a")}
        journal.append([line("c"), line("a", completion_text="newer")])
        found = journal.read([key("a"), key("b"), key("c")])
    assert found == {key("a"): line("a", completion_text="newer"), key("b"): line("b"), key("c"): line("c")}


def test_read_tells_keys_apart_that_are_the_same_bytes_in_hex(tmp_path: Path) -> None:
    names = [key("a"), key("a").upper(), key("a")[:62], f"{key('a')[:62]}  ", ""]
    with open_journal(tmp_path / "j.jsonl") as journal:
        journal.append([_line(name, f"of {name}") for name in names])
        assert journal.read(names) == {name: _line(name, f"of {name}") for name in names}


def test_entries_gives_every_record_oldest_first(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.jsonl") as journal:
        journal.append([line("b"), line("a")])
        journal.append([line("b", completion_text="again")])
        assert list(journal.entries()) == [record("b"), record("a"), record("b", completion_text="again")]


def test_line_count_follows_what_is_appended(tmp_path: Path) -> None:
    with open_journal(tmp_path / "j.jsonl") as journal:
        journal.append([line("a"), line("b")])
        assert journal.line_count == 2
        journal.append([line("c")])
        assert journal.line_count == 3


TORN = '{"request_hash":"c","é":1}'.encode()


@pytest.mark.parametrize("cut", range(1, len(TORN)))
def test_open_journal_removes_a_line_cut_at_any_byte(tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path) as journal:
        journal.append([_line("a"), _line("b")])
    whole = path.read_bytes()
    path.write_bytes(whole + TORN[:cut])
    with caplog.at_level(logging.WARNING), open_journal(path) as journal:
        assert journal.repaired_bytes == cut
    assert f"{cut} bytes removed" in caplog.text
    assert path.read_bytes() == whole
    with open_journal(path) as journal:
        assert journal.repaired_bytes == 0
        journal.append([_line("d")])
    assert _keys(path) == ["a", "b", "d"]


def test_open_journal_keeps_whole_lines_whatever_byte_the_last_two_are_cut_at(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    lines = [_line(name, 'ü\\"') for name in "abc"]
    with open_journal(path) as journal:
        journal.append(lines)
    whole = path.read_bytes()
    ends = [sum(len(kept.encode()) + 1 for kept in lines[: n + 1]) for n in range(3)]
    for cut in range(ends[0], len(whole) + 1):
        path.write_bytes(whole[:cut])
        # a line that lacks only its end of line is a whole answer
        kept = [name for name, end in zip("abc", ends, strict=True) if cut >= end - 1]
        assert _keys(path) == kept, cut
        assert path.read_bytes() == whole[: ends[len(kept) - 1]]


def test_open_journal_empties_a_file_that_holds_only_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b"x" * 200_000)
    assert _keys(path) == []
    assert path.read_bytes() == b""


def test_open_journal_finds_the_last_line_end_far_before_the_file_end(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(_line("a").encode() + b"\n" + b"x" * 200_000)
    assert _keys(path) == ["a"]


DAMAGED = (
    b"\x00\xff\x00",
    b"[1]",
    b'{"request_hash":3}',
    b'{"request_hash":"c","completion_text":"\xed\xa0\x80"}',
    b'{"request_hash":"c","cost_usd":NaN}',
    b'{"request_hash":"c","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b"",
)


def test_entries_and_read_skip_and_report_damaged_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b"\n".join([_line("a").encode(), *DAMAGED, _line("b").encode(), b""]))
    with caplog.at_level(logging.WARNING):
        assert stored(path) == [("a", "answer"), ("b", "answer")]
    assert f"{len(DAMAGED)} damaged lines" in caplog.text
    assert _keys(path) == ["a", "b"]


def test_open_journal_refuses_a_second_opening(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path), pytest.raises(StorageError, match="another run"), open_journal(path):
        pass
    assert _keys(path) == []


def test_append_that_meets_a_full_disk_leaves_what_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path) as journal:
        journal.append([_line("a")])
        before = path.read_bytes()
        with full_disk(len(before) + 20), pytest.raises(StorageError, match="cannot append"):
            journal.append([_line("b"), _line("c")])
        assert path.read_bytes() == before
        journal.append([_line("d")])
        assert sorted(journal.read("abcd")) == ["a", "d"]
    assert _keys(path) == ["a", "d"]


def test_append_removes_what_a_failed_one_could_not_take_back(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path) as journal:
        journal.append([_line("a")])
        with path.open("ab") as file:
            file.write(b'{"request_hash":"b"')
        journal.append([_line("c")])
        assert path.read_text() == f"{_line('a')}\n{_line('c')}\n"


def test_open_journal_reports_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot open"), open_journal(tmp_path / "file" / "j.jsonl"):
        pass


def test_open_journal_reports_a_read_only_file(shared_dir: Path) -> None:
    path = shared_dir / "j.jsonl"
    path.write_text(f"{_line('a')}\n")
    shared_dir.chmod(0o777)
    path.chmod(0o444)
    with as_nobody(), pytest.raises(StorageError, match=r"j\.jsonl: cannot open: Permission denied"), open_journal(path):
        pass
    assert _keys(path) == ["a"]


def test_open_journal_reports_a_read_only_folder(shared_dir: Path) -> None:
    shared_dir.chmod(0o555)
    with as_nobody(), pytest.raises(StorageError, match="Permission denied"), open_journal(shared_dir / "j.jsonl"):
        pass
    shared_dir.chmod(0o755)
    assert list(shared_dir.iterdir()) == []
