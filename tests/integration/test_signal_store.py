"""Signals on disk: what is read is what was written; a killed cache goes on, a damaged shard is made again."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import StorageError
from warehouse.signal_store import SHARD_DOCUMENTS, Arrays, SignalStore, open_signals

COUNT = 2 * SHARD_DOCUMENTS + 5

FILLING = """
import sys
import time
from pathlib import Path
from tests.integration.test_signal_store import COUNT, drawn
from warehouse.signal_store import open_signals

def make(documents):
    print(documents.start, flush=True)
    if documents.start:
        time.sleep(60)
    return [drawn(document) for document in documents]

open_signals(Path(sys.argv[1]), "d", ["a"], COUNT).fill(make)
"""


def drawn(document: int) -> Arrays:
    """Arrays whose sizes differ by document, some of them empty."""
    draw = np.random.default_rng(document)
    rows, keys = document % 4, 1 + document % 7
    return {
        "reading": draw.random((2, rows, keys)).astype(np.float16),
        "is_row": draw.random(rows) > 0.5,
        "token_ids": draw.integers(0, 100, (keys, 3)).astype(np.int32),
    }


def make(documents: range) -> list[Arrays]:
    return [drawn(document) for document in documents]


def never(_: range) -> list[Arrays]:
    raise AssertionError("everything is there")


def opened(root: Path, made_from: str = "a") -> SignalStore:
    return open_signals(root, "d", [made_from], COUNT)


def check(store: SignalStore, documents: list[int]) -> None:
    for document, found in zip(documents, store.read(documents), strict=True):
        expected = drawn(document)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].dtype == values.dtype
            np.testing.assert_array_equal(found[name], values)


def test_documents_are_read_back_in_any_order(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.fill(make) == 3
    check(store, [COUNT - 1, 0, SHARD_DOCUMENTS, 3, 0, SHARD_DOCUMENTS - 1])


def test_some_arrays_are_read_alone(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.fill(make)
    (found,) = store.read([7], ["is_row"])
    assert list(found) == ["is_row"]


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    opened(tmp_path).fill(make)
    assert opened(tmp_path).fill(never) == 0


def test_signals_made_from_something_else_are_others(tmp_path: Path) -> None:
    opened(tmp_path).fill(make)
    assert opened(tmp_path, "b").missing() == [0, 1, 2]


def cut(content: bytearray) -> None:
    del content[len(content) // 2 :]


def empty(content: bytearray) -> None:
    content.clear()


def flip(content: bytearray) -> None:
    content[-40] ^= 1


@pytest.mark.parametrize("damage", [cut, empty, flip])
def test_a_damaged_shard_is_made_again_and_no_other(tmp_path: Path, damage: Callable[[bytearray], None]) -> None:
    store = opened(tmp_path)
    store.fill(make)
    path = store.folder / "1.safetensors"
    content = bytearray(path.read_bytes())
    damage(content)
    path.unlink()
    path.write_bytes(content)
    assert store.missing() == [1]
    made: list[range] = []
    store.fill(lambda documents: made.append(documents) or make(documents))  # type: ignore[func-returns-value]
    assert made == [range(SHARD_DOCUMENTS, 2 * SHARD_DOCUMENTS)]
    check(store, [SHARD_DOCUMENTS, SHARD_DOCUMENTS + 1])


def test_a_shard_that_is_missing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="run the stage again"):
        list(opened(tmp_path).read([0]))


def test_shared_arrays_are_made_once(tmp_path: Path) -> None:
    weights = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    opened(tmp_path).take_shared(lambda: {"early": weights, "refine": weights[:0]})
    found = opened(tmp_path).take_shared(lambda: never(range(0)))  # type: ignore[arg-type, return-value]
    np.testing.assert_array_equal(found["early"], weights)
    assert found["refine"].shape == (0, 3, 4)


def test_a_killed_cache_goes_on_after_its_last_shard(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILLING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == ["0", str(SHARD_DOCUMENTS)]
        process.send_signal(signal.SIGKILL)
    store = opened(tmp_path)
    assert store.missing() == [1, 2]
    assert store.fill(make) == 2
    check(store, list(range(COUNT)))
