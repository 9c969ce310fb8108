"""The journal at the size of a real run: 100,000 answers of 3 to 4 kB; `-s` shows the figures.

Baseline on 2 shared x86-64 cores, Python 3.11, pyarrow 26: every record 1.1 s as lines and 1.6 s as a part (0.5 s without texts),
index 1.0 s and 0.2 s at 150 bytes a record, 5,000 keys 0.05 s as lines and 0.2 to 0.5 s as a part, compaction 7 s to a sixth.
"""

import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.journals import key, line
from warehouse.journal import Journal, open_journal
from warehouse.layout import parts_dir

RECORDS = 100_000
CHUNK = 5000
WORDS = ("alpha", "béta", '"quoted"', "line\n", "shortlist:", "—", "label", "12", "candidate", "because", "therefore", "package")
LEDGER = ("error_kind", "finish_reason", "endpoint", "teacher", "cost_usd", "at_risk_usd")

T = TypeVar("T")


def timed(what: str, work: Callable[[], T]) -> T:
    began = time.perf_counter()
    result = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{what}: {time.perf_counter() - began:.2f} s, peak {peak:.0f} MB\n")
    return result


def fill(journal: Journal, draws: random.Random) -> None:
    for first in range(0, RECORDS, CHUNK):
        texts = [" ".join(draws.choices(WORDS, k=400)) for _ in range(CHUNK)]
        journal.append([line(first + n, completion_text=text) for n, text in enumerate(texts)])


def read_all(journal: Journal, keys: list[str]) -> int:
    return sum(len(journal.read(keys[first : first + CHUNK])) for first in range(0, RECORDS, CHUNK))


@pytest.mark.bench
def test_journal_of_many_answers_is_read_and_compacted_in_seconds_and_flat_memory(tmp_path: Path) -> None:
    draws = random.Random(1)
    path, keys = tmp_path / "j.jsonl", [key(n) for n in range(RECORDS)]
    with open_journal(path) as journal:
        timed("append", lambda: fill(journal, draws))
        size = path.stat().st_size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for form in ("lines", "part"):
            assert timed(f"{form}: every record", lambda: sum(1 for _ in journal.entries())) == RECORDS
            assert timed(f"{form}: what a ledger needs", lambda: sum(1 for _ in journal.entries(LEDGER))) == RECORDS
            timed(f"{form}: index", lambda: journal.read(keys[:1]))
            assert timed(f"{form}: {CHUNK} scattered keys", lambda: len(journal.read(draws.sample(keys, CHUNK)))) == CHUNK
            assert timed(f"{form}: all keys, {CHUNK} at a time", lambda: read_all(journal, keys)) == RECORDS
            if form == "lines":
                assert timed("compact", journal.compact) == RECORDS
        grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    parts = sum(part.stat().st_size for part in parts_dir(path).iterdir())
    sys.stdout.write(f"{size / 1e6:.0f} MB of lines, {parts / 1e6:.0f} MB of parts; the process grew by {grown_mb:.0f} MB\n")
    assert grown_mb < size / 2e6
