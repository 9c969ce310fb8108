import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.config import EmbedConfig
from schemas.errors import StorageError
from tasks.labels.embedder import CHUNK, hash_text
from tasks.labels.task import open_embedder
from tests.support.runs import tiny_run
from tests.support.tiny_encoders import WIDTH, save_bert, save_tokenizer
from warehouse.embedding_store import FILE, EmbeddingStore, model_digest

WRITER = """
import sys
from pathlib import Path
import numpy as np
from tasks.labels.embedder import CHUNK, hash_text
from tasks.labels.task import open_embedder
from tests.support.runs import tiny_run
from tests.support.tiny_encoders import WIDTH, save_bert, save_tokenizer
from warehouse.embedding_store import EmbeddingStore
store = EmbeddingStore(Path(sys.argv[1]), "m")
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    rows = range(number * 8, number * 8 + 8)
    store.append([hash_text(str(row)) for row in rows], np.array([[row, 1] for row in rows], np.float32))
    print(number, flush=True)
"""

EMBEDDING = """
import sys
from pathlib import Path
from schemas.config import EmbedConfig
from tasks.labels.task import open_embedder
from tests.support.runs import tiny_run
embedder = open_embedder(tiny_run(Path(sys.argv[1])), EmbedConfig(model=sys.argv[2]), 8)
texts = (f"a {number}" for number in range(4000))
for block in embedder.embed_blocks(texts, progress=lambda done, _: print(done, flush=True)):
    pass
"""


def hashes(*texts: str) -> list[str]:
    return [hash_text(text) for text in texts]


def axes(count: int) -> NDArray[np.float32]:
    return np.eye(count, dtype=np.float32)


def writer(root: Path, first: int, last: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(first), str(last)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def file_of(root: Path) -> Path:
    return next(root.rglob(FILE))


def test_get_gives_vectors_in_the_order_asked_with_repeats(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "m")
    store.append(hashes("a", "b", "c"), axes(3))
    assert np.array_equal(store.get(hashes("c", "a", "c")), axes(3)[[2, 0, 2]])


def test_get_of_more_than_one_query_holds_is_in_order(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "m")
    texts = [str(n) for n in range(1300)]
    store.append(hashes(*texts), np.array([[n, 1] for n in range(1300)], np.float32))
    assert store.get(hashes(*texts[::-1]))[:, 0].tolist() == list(range(1299, -1, -1))
    assert store.missing(hashes(*texts, "new")) == hashes("new")


def test_missing_gives_each_hash_once_in_order_before_and_after_the_file_is_made(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "m")
    assert store.missing(hashes("b", "a", "b")) == hashes("b", "a")
    assert not list(tmp_path.rglob("*"))
    store.append(hashes("b"), axes(1))
    assert store.missing(hashes("c", "b", "a", "c")) == hashes("c", "a")


def test_stores_of_other_embedders_share_nothing(tmp_path: Path) -> None:
    EmbeddingStore(tmp_path, "m").append(hashes("a"), axes(1))
    assert EmbeddingStore(tmp_path, "n").missing(hashes("a")) == hashes("a")


def test_a_vector_that_is_stored_stays_as_it_is(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "m")
    store.append(hashes("a"), axes(2)[:1])
    store.append(hashes("a", "b"), axes(2)[::-1])
    assert np.array_equal(store.get(hashes("a", "b")), axes(2)[[0, 0]])


def test_an_append_that_fails_stores_nothing(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "m")
    store.append(hashes("a"), axes(1))
    with pytest.raises(ValueError, match="zip"):
        store.append(hashes("b", "c"), axes(3)[:1])
    assert store.missing(hashes("b", "c")) == hashes("b", "c")


def test_several_processes_write_at_once_from_the_first_vector_on(tmp_path: Path) -> None:
    writers = [writer(tmp_path, first, first + 20) for first in (0, 10, 20)]
    assert [process.wait(60) for process in writers] == [0, 0, 0]
    texts = [str(row) for row in range(40 * 8)]
    assert EmbeddingStore(tmp_path, "m").get(hashes(*texts))[:, 0].tolist() == list(range(320))
    assert [path.name for path in file_of(tmp_path).parent.iterdir() if ".new-" in path.name] == []


def test_a_store_open_before_another_process_wrote_sees_its_vectors(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "m")
    assert len(store.missing(hashes("0"))) == 1
    assert writer(tmp_path, 0, 1).wait(60) == 0
    assert store.missing(hashes("0", "7", "8")) == hashes("8")
    assert writer(tmp_path, 1, 2).wait(60) == 0
    assert store.missing(hashes("8")) == []


def test_a_killed_writer_leaves_every_chunk_it_reported(tmp_path: Path) -> None:
    reported = 0
    for turn in range(6):
        process = writer(tmp_path, reported, 10_000)
        assert process.stdout is not None
        for _ in range(5):
            reported = int(process.stdout.readline()) + 1
        time.sleep(0.003 * turn)
        process.kill()
        reported += len(process.communicate()[0].split())
        texts = [str(row) for row in range(reported * 8)]
        assert EmbeddingStore(tmp_path, "m").get(hashes(*texts))[:, 0].tolist() == list(range(reported * 8))


def test_a_killed_embedding_encodes_only_what_was_not_stored(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_bert(folder)
    save_tokenizer(folder)
    given = [sys.executable, "-c", EMBEDDING, str(tmp_path / "root"), str(folder)]
    process = subprocess.Popen(given, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    for _ in range(3):
        told = int(process.stdout.readline())
    process.kill()
    told = max([told, *map(int, process.communicate()[0].split())])
    embedder = open_embedder(tiny_run(tmp_path / "root"), EmbedConfig(model=str(folder)), 8)
    totals: list[int] = []
    vectors = embedder.embed([f"a {number}" for number in range(4000)], lambda _, total: totals.append(total))
    assert 4000 - told - CHUNK <= totals[0] <= 4000 - told
    assert vectors.shape == (4000, WIDTH)


def test_threads_share_a_store(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "m")
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(20):
            text = f"{number} {turn}"
            store.append(hashes(text), np.array([[number, turn]], np.float32))
            if store.get(hashes(text)).tolist() != [[number, turn]]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    EmbeddingStore(tmp_path, "m").append(hashes("a"), axes(1))
    file_of(tmp_path).write_bytes(b"no database " * 1000)
    for use in (EmbeddingStore(tmp_path, "m").missing, EmbeddingStore(tmp_path, "m").get):
        with pytest.raises(StorageError, match=r"vectors\.sqlite is damaged .* delete its folder, its texts are embedded again"):
            use(hashes("a"))


def test_a_file_damaged_inside_is_named_when_its_pages_are_read(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "m")
    texts = [str(n) for n in range(2000)]
    store.append(hashes(*texts), np.ones((2000, 64), np.float32))
    del store
    content = file_of(tmp_path).read_bytes()
    file_of(tmp_path).write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with pytest.raises(StorageError, match="is damaged"):
        EmbeddingStore(tmp_path, "m").get(hashes(*texts))


def test_vectors_of_two_lengths_are_refused(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "m")
    store.append(hashes("a"), axes(2)[:1])
    store.append(hashes("b"), axes(3)[:1])
    with pytest.raises(StorageError, match="differ in length"):
        store.get(hashes("a", "b"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"vectors\.sqlite: cannot write"):
        EmbeddingStore(tmp_path, "m").append(hashes("a"), axes(1))


def model_folder(path: Path) -> Path:
    (path / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"):
        (path / name).write_text(name)
    return path


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_model_digest_changes_with_what_changes_vectors(tmp_path: Path, name: str) -> None:
    first, second = model_folder(tmp_path / "a"), model_folder(tmp_path / "b")
    assert model_digest(first) == model_digest(second)
    third = model_folder(tmp_path / "c")
    (third / name).write_text("changed")
    assert model_digest(third) != model_digest(first)


def test_model_digest_overlooks_what_cannot_change_vectors(tmp_path: Path) -> None:
    first, second = model_folder(tmp_path / "a"), model_folder(tmp_path / "b")
    (second / "onnx").mkdir()
    for name in ("README.md", "pytorch_model.bin", "onnx/config.json"):
        (second / name).write_text("more")
    assert model_digest(first) == model_digest(second)
