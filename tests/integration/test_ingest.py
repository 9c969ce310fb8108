import gzip
import shutil
from pathlib import Path

import polars as pl
import pytest

from schemas.config import IngestConfig
from schemas.errors import ConfigError, InputFormatError
from schemas.refs import StageResult
from tasks.datasets.task import ingest_dataset
from tests.support.runs import tiny_lf, tiny_run, write_lf


def ingest(root: Path, folder: Path, max_reject_frac: float = 0.05) -> StageResult:
    return ingest_dataset.fn(tiny_run(root), IngestConfig(path=str(folder), max_reject_frac=max_reject_frac))


def table(result: StageResult, name: str) -> pl.DataFrame:
    return pl.read_parquet(next(ref.path for ref in result.tables if ref.table == name))


def test_ingest_reads_an_lf_folder(tmp_path: Path) -> None:
    found = ingest(tmp_path / "root", tiny_lf(tmp_path / "lf"))
    assert table(found, "core_documents")["split"].value_counts(sort=True).rows() == [("train", 4), ("test", 2)]
    assert table(found, "core_labels").height == 5
    assert table(found, "core_relevance").filter("is_filtered").select("document_id", "label_id").rows() == [("d0", 1)]
    assert table(found, "core_rejects").is_empty()


def test_ingest_reads_gzipped_files_the_same(tmp_path: Path) -> None:
    plain = tiny_lf(tmp_path / "lf")
    packed = tmp_path / "gz"
    packed.mkdir()
    for file in plain.iterdir():
        (packed / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    first, second = ingest(tmp_path / "a", plain), ingest(tmp_path / "b", packed)
    assert [ref.content_hash for ref in first.tables] == [ref.content_hash for ref in second.tables]


def test_ingest_names_the_missing_file_and_what_is_there(tmp_path: Path) -> None:
    folder = tiny_lf(tmp_path / "lf")
    (folder / "lbl.json").unlink()
    with pytest.raises(InputFormatError, match=r"labels file is missing; looked for lbl\.json\[\.gz\], found .*trn\.json"):
        ingest(tmp_path / "root", folder)


def test_ingest_names_a_cut_off_gzip_file(tmp_path: Path) -> None:
    folder = tiny_lf(tmp_path / "lf")
    packed = gzip.compress((folder / "trn.json").read_bytes() * 50)
    (folder / "trn.json").unlink()
    (folder / "trn.json.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputFormatError, match=r"trn\.json\.gz: cannot be read to its end"):
        ingest(tmp_path / "root", folder)


def test_ingest_refuses_an_empty_dataset(tmp_path: Path) -> None:
    folder = write_lf(tmp_path / "lf", [], [{"uid": "t", "title": "x", "target_ind": [0]}], [{"uid": "l", "title": "L"}])
    with pytest.raises(InputFormatError, match="no usable document"):
        ingest(tmp_path / "root", folder)


def test_ingest_refuses_too_many_bad_lines_and_names_the_first(tmp_path: Path) -> None:
    folder = tiny_lf(tmp_path / "lf")
    (folder / "trn.json").write_text((folder / "trn.json").read_text() + "{broken\n" * 5)
    with pytest.raises(InputFormatError, match=r"first trn\.json:4: broken_line.*max_reject_frac 0\.05"):
        ingest(tmp_path / "root", folder)
    found = ingest(tmp_path / "root", folder, max_reject_frac=0.5)
    assert table(found, "core_rejects").select("source_line", "reject_reason").rows() == [(i, "broken_line") for i in range(4, 9)]


def test_ingest_without_a_path_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give PATH"):
        ingest_dataset.fn(tiny_run(tmp_path), IngestConfig())


def test_ingest_holds_one_row_for_a_repeated_document(tmp_path: Path) -> None:
    folder = tiny_lf(tmp_path / "lf")
    shutil.copy(folder / "trn.json", folder / "tst.json")
    with pytest.raises(InputFormatError, match="no usable document"):
        ingest(tmp_path / "root", folder, max_reject_frac=1.0)
