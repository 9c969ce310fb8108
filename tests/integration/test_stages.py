"""What every stage shares: reuse, refusal of changed files, publication only after checks, runs in the warehouse."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.ingest import ingest
from flows.stage import run_stage
from schemas.errors import CheckFailedError, ConfigError, MissingTableError, StorageError
from schemas.refs import StageInputs, StageResult
from schemas.tables import CORE_LABELS
from tasks.runs.task import ask_warehouse, open_run, stage_inputs
from tests.support.runs import tiny_lf
from warehouse.parquet import write_table


@pytest.fixture(scope="session", autouse=True)
def prefect_server() -> Iterator[None]:
    """One temporary Prefect server for the session."""
    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A data root into which the tiny dataset was ingested."""
    tiny_lf(tmp_path / "lf")
    ingest("tiny", str(tmp_path / "lf"), str(tmp_path / "root"))
    return str(tmp_path / "root")


def test_ingest_twice_takes_the_first_result(root: str, tmp_path: Path) -> None:
    again = ingest("tiny", str(tmp_path / "lf"), root)
    assert again.is_reused
    assert ask_warehouse(root, "select status, count(*) from runs group by all").rows() == [("done", 2)]


def test_ingest_of_a_changed_file_runs_again(root: str, tmp_path: Path) -> None:
    tiny_lf(tmp_path / "lf")
    labels = tmp_path / "lf" / "lbl.json"
    labels.write_text(labels.read_text() + '{"uid": "new", "title": "a new label"}\n')
    again = ingest("tiny", str(tmp_path / "lf"), root)
    assert not again.is_reused
    assert ask_warehouse(root, "select count(*) from core_labels").item() == 6


def test_a_published_table_that_was_changed_is_refused(root: str) -> None:
    run = open_run("index", "tiny", root, None, [])
    path = Path(stage_inputs(run, "index").tables["core_labels"].path)
    pl.read_parquet(path).head(2).write_parquet(path)
    with pytest.raises(StorageError, match=r"core_labels: .* changed after it was published; run `ctd ingest tiny`"):
        stage_inputs(run, "index")


def test_a_stage_whose_result_was_deleted_runs_again(root: str, tmp_path: Path) -> None:
    first = ingest("tiny", str(tmp_path / "lf"), root)
    Path(first.tables[0].path).unlink()
    assert not ingest("tiny", str(tmp_path / "lf"), root).is_reused


def test_a_missing_stage_is_named(root: str) -> None:
    run = open_run("parse", "tiny", root, None, [])
    with pytest.raises(MissingTableError, match="run `ctd trace tiny` first"):
        stage_inputs(run, "parse")


def test_a_failed_check_publishes_nothing_and_is_recorded(root: str) -> None:
    before = ask_warehouse(root, "select run_id from published order by 1").rows()
    run = open_run("ingest", "tiny", root, None, [])

    def work(_: StageInputs) -> StageResult:
        labels = CORE_LABELS.conform(
            pl.DataFrame(
                [("tiny", 0, "a", "A", "", "h"), ("tiny", 0, "b", "B", "", "h")], schema=CORE_LABELS.schema, orient="row"
            )
        )
        return StageResult(tables=(write_table(run, "ingest", CORE_LABELS, labels),))

    with pytest.raises(CheckFailedError, match=r"core_labels.*label_id=0"):
        run_stage(run, "ingest", work, "other source")
    assert ask_warehouse(root, "select run_id from published order by 1").rows() == before


def test_a_wrong_setting_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"index\.connectivity: got 1"):
        ingest("tiny", str(tmp_path), str(tmp_path / "root"), set=["index.connectivity=1"])
    assert not (tmp_path / "root").exists()


def test_a_failed_run_says_why_in_the_warehouse(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    with pytest.raises(ConfigError, match="no such folder"):
        ingest("tiny", str(tmp_path / "nowhere"), root)
    rows = ask_warehouse(root, "select status, error_text from runs").rows()
    assert rows[0][0] == "failed"
    assert "nowhere" in rows[0][1]


def test_views_follow_a_data_root_that_moved(root: str, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    Path(root).rename(moved)
    assert ask_warehouse(str(moved), "select count(*) from core_documents").item() == 6


def test_sql_lets_only_queries_through(root: str) -> None:
    with pytest.raises(ConfigError, match="only select is allowed"):
        ask_warehouse(root, "drop table out_runs")
    with pytest.raises(ConfigError, match="no_such_column"):
        ask_warehouse(root, "select no_such_column from runs")


def test_a_stage_that_is_not_complete_is_tried_again(root: str, tmp_path: Path) -> None:
    run = open_run("ingest", "tiny", root, None, [])
    calls = []

    def work(_: StageInputs) -> StageResult:
        calls.append(1)
        return StageResult(is_complete=len(calls) > 1)

    assert not run_stage(run, "ingest", work, "some source").is_reused
    assert not run_stage(run, "ingest", work, "some source").is_reused
    assert run_stage(run, "ingest", work, "some source").is_reused
    assert len(calls) == 2
