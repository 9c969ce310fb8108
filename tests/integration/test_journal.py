"""Real kills: a process that appends and compacts dies at any step; every answer that counted is there, once."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from schemas.errors import StorageError
from tests.support.journals import HUNG_S, ended, in_child, key, killed_after, killed_at, line, stored
from warehouse.journal import open_journal
from warehouse.layout import parts_dir

STEPS_IN = ("warehouse/journal.py", "warehouse/atomic.py", "warehouse/journal_lines.py")
ODD = {"prompt_tokens": "many"}
"""Does not fit the columns: this line stays when the others move."""


def _compact(path: Path) -> None:
    with open_journal(path) as journal:
        journal.compact()


@pytest.mark.parametrize("has_odd_line", [False, True])
def test_a_compaction_killed_at_any_step_loses_nothing_and_doubles_nothing(tmp_path: Path, has_odd_line: bool) -> None:
    path = tmp_path / "j.jsonl"
    with open_journal(path) as journal:
        journal.append([line("first")])
        journal.compact()
        journal.append([line("a"), line("odd", **ODD) if has_odd_line else line("even"), line("b")])
    lines, part_count = path.read_bytes(), 1
    wanted = Counter(stored(path))
    step = 0
    states = set()
    while killed_at(step, STEPS_IN, lambda: _compact(path)):
        states.add((path.stat().st_size == len(lines), len(list(parts_dir(path).glob("*.parquet")))))
        assert Counter(stored(path)) == wanted, f"killed at step {step}"
        for part in sorted(parts_dir(path).glob("*.parquet"))[part_count:]:
            part.unlink()
        path.write_bytes(lines)
        step += 1
    # killed before the part stood, between the two, and after the lines went
    assert states == {(True, 1), (True, 2), (False, 2)}
    assert Counter(stored(path)) == wanted


def test_answers_that_were_counted_are_there_once_after_many_kills(tmp_path: Path) -> None:
    path, counted = tmp_path / "j.jsonl", tmp_path / "counted"
    draws = random.Random(5)
    counted.touch()

    def ask() -> None:
        with open_journal(path) as journal, counted.open("a") as done:
            known = {entry["request_hash"] for entry in journal.entries(())}
            for turn in range(100_000):
                names = [name for name in (f"{turn} {part}" for part in range(3)) if key(name) not in known]
                journal.append([line(name, completion_text="x" * 3000) for name in names])
                done.writelines(f"{name}\n" for name in names)
                done.flush()
                if names and turn % 5 == 0:
                    journal.compact()

    for kill_count in range(1, 300):
        killed_after(draws.uniform(0.0, 0.2), ask)
        found = Counter(name for name, _ in stored(path))
        assert set(found.values()) <= {1}
        assert {key(name) for name in counted.read_text().splitlines()} <= set(found)
        # a busy machine may need more of them to get anywhere
        if kill_count >= 30 and len(list(parts_dir(path).glob("*.parquet"))) > 5:
            break
    else:
        pytest.fail(f"{kill_count} kills, and {len(found)} answers only")


def test_a_process_that_has_the_journal_keeps_others_out_until_it_dies(tmp_path: Path) -> None:
    path, begun = tmp_path / "j.jsonl", tmp_path / "begun"

    def hold() -> None:
        with open_journal(path) as journal:
            journal.append([line("a")])
            journal.compact()
            begun.touch()
            time.sleep(HUNG_S)

    holder = in_child(hold)
    try:
        while not begun.exists():
            time.sleep(0.01)
        before = path.read_bytes()
        with pytest.raises(StorageError, match="another run"), open_journal(path):
            pass
        assert path.read_bytes() == before
    finally:
        os.kill(holder, signal.SIGKILL)
        ended(holder)
    assert [name for name, _ in stored(path)] == [key("a")]
