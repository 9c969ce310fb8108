"""Batch files, through the stand-in's own batch reader: written, answered in part and in disorder, read, and the rest asked."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from schemas.config import EmbedConfig, FaultRates
from schemas.errors import ConfigError, StorageError
from tasks.traces.stand_in.batch import answer_batch
from tasks.traces.task import read_batches, write_batches
from tests.support.asked_run import COUNT, Asked, asked

EMBED = EmbedConfig()
PRICES: dict[str, Any] = {"prompt_usd_per_million": 1.0, "completion_usd_per_million": 2.0, "batch_price_factor": 0.5}


def write(teacher: Asked, folder: Path, **settings: object) -> dict[str, str]:
    return dict(write_batches.fn(teacher.run, teacher.inputs, teacher.teacher(**settings), EMBED, str(folder)))


def run_batch(teacher: Asked, folder: Path, expired_frac: float = 0.0) -> None:
    """What the provider does: output and error files beside the input, under names of its own."""
    for path in sorted(folder.glob("*.input.jsonl")):
        output, errors = asyncio.run(answer_batch(teacher.server, path.read_text().splitlines(), 1, expired_frac))
        (folder / f"{path.stem}_x_output.jsonl").write_text("".join(line + "\n" for line in output))
        (folder / f"{path.stem}_x_error.jsonl").write_text("".join(line + "\n" for line in errors))


def read(teacher: Asked, folder: Path, **settings: object) -> dict[str, str]:
    return dict(read_batches.fn(teacher.run, teacher.inputs, teacher.teacher(**settings), EMBED, str(folder)))


def test_a_whole_batch_leaves_nothing_to_ask(tmp_path: Path) -> None:
    with asked(tmp_path, FaultRates()) as teacher:
        written = write(teacher, tmp_path / "b", **PRICES)
        assert written["requests"] == str(COUNT + 1)
        run_batch(teacher, tmp_path / "b")
        said = read(teacher, tmp_path / "b", **PRICES)
        count = teacher.server.stats()["request_count"]
        frame = teacher.traces(**PRICES)
        assert teacher.server.stats()["request_count"] == count == COUNT + 1
    assert said["answered"] == str(COUNT + 1)
    assert frame["error_kind"].null_count() == COUNT + 1
    spent = sum(row["prompt_tokens"] + 2 * row["completion_tokens"] for row in frame.iter_rows(named=True)) / 1e6 / 2
    assert frame["cost_usd"].sum() == pytest.approx(spent)


def test_what_a_batch_did_not_answer_is_asked_and_nothing_else(tmp_path: Path) -> None:
    with asked(tmp_path, FaultRates(server_error=0.2, dropped=0.1, empty_choices=0.1)) as teacher:
        write(teacher, tmp_path / "b")
        run_batch(teacher, tmp_path / "b", expired_frac=0.2)
        said = read(teacher, tmp_path / "b")
        assert all(kind in said["failed"] for kind in ("http_500", "batch_expired", "empty_choices"))
        answered = int(said["answered"])
        before = teacher.server.stats()["by_messages"]
        frame = teacher.traces()
        after = teacher.server.stats()["by_messages"]
    assert 5 < answered < COUNT - 5
    assert frame["error_kind"].null_count() == COUNT + 1
    again = [key for key in after if after[key] > before.get(key, 0)]
    assert len(again) == COUNT + 1 - answered


def test_results_may_come_in_pieces_twice_and_in_any_order(tmp_path: Path) -> None:
    with asked(tmp_path, FaultRates()) as teacher:
        write(teacher, tmp_path / "b")
        run_batch(teacher, tmp_path / "b")
        (output,) = (tmp_path / "b").glob("*_output.jsonl")
        lines = output.read_text().splitlines()
        random.Random(0).shuffle(lines)
        output.write_text("\n".join(lines[:25]))  # the last line has no end
        first = read(teacher, tmp_path / "b")
        (tmp_path / "b" / "later.jsonl").write_text("\n".join([*lines[10:], "{broken", '{"custom_id": "foreign"}']))
        second = read(teacher, tmp_path / "b")
    assert (first["answered"], first["no result"]) == ("25", str(COUNT + 1 - 25))
    assert (second["answered"], second["known before"]) == (str(COUNT + 1 - 25), str(25 + 15))
    assert second["not ours"].startswith("1,")
    assert second["unreadable"].startswith("1: later.jsonl, line")


def test_write_leaves_out_what_is_answered_and_what_the_cap_does_not_allow(tmp_path: Path) -> None:
    with asked(tmp_path, FaultRates()) as teacher:
        teacher.traces(max_documents=10)
        assert write(teacher, tmp_path / "b")["requests"] == str(COUNT - 10)
        capped = write(teacher, tmp_path / "c", **PRICES, max_usd=0.05)
        kept, left_out = int(capped["requests"]), int(capped["left out"].split()[0])
        assert (kept + left_out, kept > 0, left_out > 0) == (COUNT - 10, True, True)


def test_batches_need_a_known_form_and_results(tmp_path: Path) -> None:
    with asked(tmp_path, FaultRates()) as teacher:
        with pytest.raises(ConfigError, match=r"teacher.answer_form is auto and nothing is known"):
            write(teacher, tmp_path / "b", answer_form="auto")
        write(teacher, tmp_path / "b")
        with pytest.raises(StorageError, match="holds no results"):
            read(teacher, tmp_path / "b")
        run_batch(teacher, tmp_path / "b")
        with pytest.raises(StorageError, match="no batch input"):
            write(teacher, tmp_path / "b")
