"""Batch files stay within their limits and appear whole; results are read whatever stands in them."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import warehouse.batch_files
from schemas.errors import StorageError
from tests.support.journals import full_disk
from warehouse.batch_files import BatchLine, read_batch_results, write_batch_files


def _written(paths: tuple[Path, ...]) -> dict[str, list[str]]:
    return {path.name: path.read_text().splitlines() for path in paths}


def _result(custom_id: str) -> str:
    return json.dumps({"id": "batch_req_1", "custom_id": custom_id, "response": {"status_code": 200, "body": {}}, "error": None})


def _read(folder: Path, **contents: bytes) -> list[BatchLine]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return list(read_batch_results(folder))


def test_write_batch_files_splits_at_the_number_of_requests(tmp_path: Path) -> None:
    paths = write_batch_files(tmp_path / "b", ["1", b"2", "3", "4", "5"], max_requests=2)
    assert _written(paths) == {
        "batch-0001.input.jsonl": ["1", "2"],
        "batch-0002.input.jsonl": ["3", "4"],
        "batch-0003.input.jsonl": ["5"],
    }
    assert paths == tuple(sorted((tmp_path / "b").iterdir()))


def test_write_batch_files_stays_below_the_size_limit_in_bytes(tmp_path: Path) -> None:
    # three bytes a line: "ü" and the line end; two lines are 6 bytes, three would be 9
    paths = write_batch_files(tmp_path / "b", ["ü"] * 5, max_bytes=9)
    assert [path.stat().st_size for path in paths] == [6, 6, 3]
    assert [path.stat().st_size for path in write_batch_files(tmp_path / "b", ["ü"] * 5, max_bytes=10)] == [9, 6]


def test_write_batch_files_of_a_whole_number_of_files_ends_without_an_empty_one(tmp_path: Path) -> None:
    assert len(write_batch_files(tmp_path / "b", ["1", "2", "3", "4"], max_requests=2)) == 2
    assert write_batch_files(tmp_path / "b", []) == ()
    assert list((tmp_path / "b").iterdir()) == []


def test_write_batch_files_replaces_older_input_files(tmp_path: Path) -> None:
    write_batch_files(tmp_path / "b", ["1", "2", "3"], max_requests=1)
    assert _written(write_batch_files(tmp_path / "b", ["4"])) == {"batch-0001.input.jsonl": ["4"]}
    assert len(list((tmp_path / "b").iterdir())) == 1


@pytest.mark.parametrize("other", ["batch_abc_output.jsonl", "notes.txt", ".hidden", "batch-0001.input.jsonl.gz"])
def test_write_batch_files_refuses_a_folder_that_holds_anything_else(tmp_path: Path, other: str) -> None:
    (tmp_path / other).write_text("paid for")
    with pytest.raises(StorageError, match=f"{other}.*--batch read"):
        write_batch_files(tmp_path, ["1"])
    assert [path.name for path in tmp_path.iterdir()] == [other]


def test_write_batch_files_refuses_results_that_come_while_it_writes(tmp_path: Path) -> None:
    folder = tmp_path / "b"

    def lines() -> Iterator[str]:
        yield "1"
        folder.mkdir()
        (folder / "output.jsonl").write_text("paid for")

    with pytest.raises(StorageError, match=r"output\.jsonl"):
        write_batch_files(folder, lines())
    assert (folder / "output.jsonl").read_text() == "paid for"
    assert list(tmp_path.iterdir()) == [folder]


def test_write_batch_files_refuses_a_request_that_no_file_can_hold(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="a request of 21 bytes is larger than a batch file may be"):
        write_batch_files(tmp_path / "b", ["1", "x" * 20, "2"], max_bytes=21)
    assert list(tmp_path.iterdir()) == []


def test_write_batch_files_that_meets_a_full_disk_leaves_the_older_set(tmp_path: Path) -> None:
    before = _written(write_batch_files(tmp_path / "b", ["1"]))
    with full_disk(100), pytest.raises(StorageError, match="cannot write"):
        write_batch_files(tmp_path / "b", ["x" * 60, "y" * 60])
    assert _written(tuple((tmp_path / "b").iterdir())) == before
    assert len(list(tmp_path.iterdir())) == 1


def test_write_batch_files_refuses_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(StorageError, match="is a file"):
        write_batch_files(tmp_path / "b", ["1"])
    assert (tmp_path / "b").read_text() == "mine"


def test_write_batch_files_takes_one_line_at_a_time(tmp_path: Path) -> None:
    taken = []

    def lines() -> Iterator[str]:
        for number in range(2000):
            taken.append(number)
            yield "x" * 1000
        written = next(tmp_path.glob("b.tmp-*"))
        assert sum(path.stat().st_size for path in written.iterdir()) > 1_900_000

    assert len(write_batch_files(tmp_path / "b", lines())) == 1
    assert len(taken) == 2000


def test_read_batch_results_reads_every_file_but_input_plain_or_packed(tmp_path: Path) -> None:
    lines = _read(
        tmp_path,
        **{
            "batch_9_output.jsonl": f"{_result('a')}\n\n{_result('b')}".encode(),
            "errors.jsonl.gz": gzip.compress(f"{_result('c')}\r\n".encode()),
            "windows.jsonl": b"\xef\xbb\xbf" + _result("d").encode(),
            "batch-0001.input.jsonl": b"never read",
            "batch-0002.input.jsonl.gz": b"never read",
            "notes.txt": b"never read",
        },
    )
    assert [(line.file, line.line_number, line.content and line.content["custom_id"]) for line in lines] == [
        ("batch_9_output.jsonl", 1, "a"),
        ("batch_9_output.jsonl", 3, "b"),
        ("errors.jsonl.gz", 1, "c"),
        ("windows.jsonl", 1, "d"),
    ]


@pytest.mark.parametrize(
    ("junk", "why"),
    [
        (b"<html>502 Bad Gateway</html>", "cannot be read"),
        (b'{"custom_id":"x","resp', "cannot be read"),
        (b'["a"]', "expected a JSON object, got list"),
        (b'{"custom_id":"x\xff"}', "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"custom_id":"x","method":"POST","url":"/v1/chat/completions","body":{}}', "it is a request, not a result"),
    ],
)
def test_read_batch_results_names_the_place_of_a_line_it_cannot_read(tmp_path: Path, junk: bytes, why: str) -> None:
    before, wrong, after = _read(tmp_path, **{"out.jsonl": b"\n".join([_result("a").encode(), junk, _result("b").encode()])})
    assert before.content and after.content
    assert wrong.content is None
    assert str(wrong.problem).startswith("out.jsonl, line 2: ")
    assert why in str(wrong.problem)


def test_read_batch_results_keeps_an_answer_that_holds_half_a_character(tmp_path: Path) -> None:
    (line,) = _read(tmp_path, **{"out.jsonl": b'{"custom_id":"a","text":"x\\ud83d y \\ud83d\\ude00"}'})
    assert line.content == {"custom_id": "a", "text": "x? y \U0001f600"}


def test_read_batch_results_leaves_out_the_rest_of_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse.batch_files, "MAX_LINE_BYTES", 200)
    wrong, right = _read(tmp_path, **{"out.jsonl": b"x" * 900 + b"\n" + _result("a").encode()})
    assert "longer than 200 bytes" in str(wrong.problem)
    assert right.line_number == 2
    assert right.content


def test_read_batch_results_keeps_what_stands_before_the_end_of_a_cut_archive(tmp_path: Path) -> None:
    noise = [_result(os.urandom(40).hex()) for _ in range(300)]
    packed = gzip.compress("\n".join(noise).encode())
    lines = _read(tmp_path, **{"out.jsonl.gz": packed[: len(packed) // 2], "z.jsonl": _result("last").encode()})
    assert [line.content for line in lines[:100]] == [json.loads(text) for text in noise[:100]]
    assert "the file is cut off or damaged" in str(lines[-2].problem)
    assert lines[-1].content == json.loads(_result("last"))


def test_read_batch_results_says_what_to_do_if_there_are_none(tmp_path: Path) -> None:
    write_batch_files(tmp_path / "b", ["1"])
    for folder in (tmp_path / "b", tmp_path / "missing"):
        with pytest.raises(StorageError, match="holds no results; put the output and error files"):
            list(read_batch_results(folder))
