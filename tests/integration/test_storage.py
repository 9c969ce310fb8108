import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import SchemaMismatchError, StorageError
from schemas.tables import CORE_LABELS
from tests.support.runs import tiny_run
from warehouse.atomic import fresh_dir, write_atomically, write_bytes
from warehouse.duck import connect
from warehouse.parquet import read_table, write_table


def labels() -> pl.DataFrame:
    return pl.DataFrame([("tiny", 0, "a", "A", "", "h")], schema=CORE_LABELS.schema, orient="row")


def test_write_atomically_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left on device; nothing stored before was changed"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_fresh_dir_replaces_a_folder_only_when_its_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with fresh_dir(path) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(ValueError, match="stop"), fresh_dir(path) as folder:
        (folder / "b").write_text("2")
        raise ValueError("stop")
    assert [p.name for p in path.iterdir()] == ["a"]
    with fresh_dir(path) as folder:
        (folder / "c").write_text("3")
    assert [p.name for p in path.iterdir()] == ["c"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_write_table_gives_the_same_hash_for_the_same_rows(tmp_path: Path) -> None:
    first, second = (write_table(tiny_run(tmp_path, run_id=run_id), "ingest", CORE_LABELS, labels()) for run_id in ("a", "b"))
    assert first.content_hash == second.content_hash
    assert read_table(first).equals(labels())


def test_write_table_refuses_other_columns_or_types(tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatchError, match="core_labels"):
        write_table(tiny_run(tmp_path), "ingest", CORE_LABELS, labels().with_columns(pl.col("label_id").cast(pl.Int64)))


def test_read_table_names_a_damaged_and_a_missing_file(tmp_path: Path) -> None:
    ref = write_table(tiny_run(tmp_path), "ingest", CORE_LABELS, labels())
    Path(ref.path).write_bytes(Path(ref.path).read_bytes()[:50])
    with pytest.raises(StorageError, match=r"core_labels: .* cannot be read"):
        read_table(ref)
    Path(ref.path).unlink()
    with pytest.raises(StorageError, match="run `ctd ingest tiny` again"):
        read_table(ref)


def test_connect_gives_up_with_a_message_while_another_process_writes(tmp_path: Path) -> None:
    path = str(tmp_path / "warehouse.duckdb")
    code = f"import duckdb, time; c = duckdb.connect({path!r}); print('open', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StorageError, match=r"warehouse .* cannot be opened"), connect(tmp_path, wait_s=0.5):
            pass
    finally:
        holder.kill()
        holder.wait()
    with connect(tmp_path, wait_s=5) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
