"""The journal survives a kill at any byte, a full disk and a second process."""

import json
import logging
import os
import resource
import signal
from pathlib import Path

import pytest

from schemas.errors import StorageError
from warehouse.journal import open_journal


def _line(key: str, text: str = "answer") -> str:
    return json.dumps({"request_hash": key, "completion_text": text}, ensure_ascii=False)


def _keys(path: Path) -> list[str]:
    with open_journal(path) as journal:
        return sorted(journal.read({"a", "b", "c", "d"}))


def test_read_gives_the_newest_line_of_wanted_keys(tmp_path: Path) -> None:
    with open_journal(tmp_path / "deep" / "j.jsonl") as journal:
        journal.append([_line("a", "old"), _line("b"), _line("a", "new ü\u2028line")])
        found = journal.read({"a", "missing"})
    assert found == {"a": _line("a", "new ü\u2028line")}


TORN = '{"request_hash":"c","é":1}'.encode()


@pytest.mark.parametrize("cut", range(1, len(TORN) + 1))
def test_open_journal_removes_a_line_cut_at_any_byte(tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path) as journal:
        journal.append([_line("a"), _line("b")])
    whole = path.read_bytes()
    path.write_bytes(whole + TORN[:cut])
    with caplog.at_level(logging.WARNING):
        assert _keys(path) == ["a", "b"]
    assert f"{cut} bytes removed" in caplog.text
    assert path.read_bytes() == whole
    with open_journal(path) as journal:
        journal.append([_line("d")])
    assert _keys(path) == ["a", "b", "d"]


def test_open_journal_empties_a_file_that_holds_only_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b"x" * 200_000)
    assert _keys(path) == []
    assert path.read_bytes() == b""


def test_open_journal_finds_the_last_line_end_far_before_the_file_end(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(_line("a").encode() + b"\n" + b"x" * 200_000)
    assert _keys(path) == ["a"]


def test_read_skips_and_reports_damaged_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(b"\n".join([_line("a").encode(), b"\x00\xff\x00", b"[1]", b'{"request_hash":3}', _line("b").encode(), b""]))
    with caplog.at_level(logging.WARNING):
        assert _keys(path) == ["a", "b"]
    assert "3 damaged lines" in caplog.text


def test_open_journal_refuses_a_second_opening(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path), pytest.raises(StorageError, match="another run"), open_journal(path):
        pass
    assert _keys(path) == []


def test_append_that_meets_a_full_disk_leaves_what_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path) as journal:
        journal.append([_line("a")])
        stored = path.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(stored) + 20, limits[1]))
        try:
            with pytest.raises(StorageError, match="cannot append"):
                journal.append([_line("b"), _line("c")])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == stored
        journal.append([_line("d")])
    assert _keys(path) == ["a", "d"]


def test_open_journal_reports_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot open"), open_journal(tmp_path / "file" / "j.jsonl"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write read-only files")
def test_open_journal_reports_a_read_only_file(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.touch(mode=0o400)
    with pytest.raises(StorageError, match="cannot open"), open_journal(path):
        pass
