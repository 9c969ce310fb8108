"""The whole run on a slice of the sample, through the command, as a new user would; then broken on purpose."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.contract.test_imports import ROOT
from warehouse.duck import query_warehouse

SAMPLE = ROOT / "samples" / "debian_seealso_small"
TRAIN_COUNT, TEST_COUNT = 160, 50
METHODS = ("answers", "mechanistic-no-p2", "mechanistic-no-p1", "mechanistic")
METRICS = (("P", 1), ("P", 5), ("R", 10), ("R", 100), ("nDCG", 5), ("PSP", 1), ("PSP", 5))


def first_lines(name: str, count: int) -> bytes:
    with gzip.open(SAMPLE / name) as file:
        return b"".join(line for line, _ in zip(file, range(count), strict=False))


def write_slice(folder: Path) -> Path:
    """The first documents of the sample with the labels they need; label numbers are kept by keeping every line."""
    folder.mkdir()
    (folder / "trn.json").write_bytes(first_lines("trn.json.gz", TRAIN_COUNT))
    (folder / "tst.json").write_bytes(first_lines("tst.json.gz", TEST_COUNT))
    (folder / "lbl.json.gz").write_bytes((SAMPLE / "lbl.json.gz").read_bytes())
    pairs = gzip.decompress((SAMPLE / "filter_labels_tst.txt.gz").read_bytes()).splitlines()
    kept = [pair for pair in pairs if int(pair.split()[0]) < TEST_COUNT]
    (folder / "filter_labels_tst.txt").write_bytes(b"\n".join(kept) + b"\n")
    return folder


def write_settings(path: Path) -> Path:
    path.write_text(
        json.dumps(
            {
                "teacher": {
                    "model": "stand-in",
                    "prompt_kind": "open",
                    "answer_form": "json",
                    "stand_in": {"knowledge": str(SAMPLE / "knowledge.json.gz")},
                },
                "embed": {"document_tokens": 32, "label_tokens": 12},
                "characterize": {"max_documents": 10},
                "distill": {"seeds": [0], "shortlister_steps": 30, "refiner_steps": 20},
                "evaluate": {"bootstrap_count": 100},
                "parse": {"max_reject_frac": 0.5},
            }
        )
    )
    return path


def ctd(*arguments: str) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [str(Path(sys.executable).with_name("ctd")), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root on which `ctd run` ended well."""
    folder = tmp_path_factory.mktemp("whole")
    settings = write_settings(folder / "settings.yaml")
    data = write_slice(folder / "lf")
    found = ctd("run", "slice", str(data), "--root", str(folder / "root"), "--config", str(settings))
    assert found.returncode == 0, found.stderr[-3000:]
    assert "mechanistic-no-p1" in found.stdout
    assert "index.html" in found.stdout
    return folder


def rows(done: Path, sql: str) -> list[tuple[object, ...]]:
    return query_warehouse(done / "root", sql).rows()


def test_run_puts_every_system_and_metric_on_the_leaderboard(done: Path) -> None:
    found = {(system, metric, k) for system, metric, k in rows(done, "select system, metric, k from leaderboard")}
    systems = ("teacher", "lexical", "embedding", "knn-gold", "supervised", *METHODS)
    assert {(s, m, k) for s in systems for m, k in METRICS} <= found


def test_run_stores_intervals_around_every_value(done: Path) -> None:
    assert rows(done, "select count(*) from leaderboard where not (ci_low <= value and value <= ci_high)") == [(0,)]


def test_accepted_and_rejected_traces_add_up_to_the_raw_ones(done: Path) -> None:
    raw, traces = (rows(done, f"select count(*) from {name}")[0][0] for name in ("raw_traces", "core_traces"))
    rejected = rows(done, "select count(*) from core_rejects where stage = 'parse'")[0][0]
    assert raw == TRAIN_COUNT + TEST_COUNT
    assert int(str(traces)) + int(str(rejected)) == raw


@pytest.mark.parametrize("table", ["core_shortlist", "core_steps", "core_answers"])
def test_spans_quote_the_raw_answer(done: Path, table: str) -> None:
    text = "step_text" if table == "core_steps" else "null"
    found = query_warehouse(
        done / "root",
        f"select case span_source when 'reasoning_text' then reasoning_text else completion_text end as source, "
        f"char_start, char_end, {text} as step_text, r.request_hash is not null as is_joined "
        f"from {table} t left join raw_traces r using (request_hash, document_id)",
    )
    assert found.height > 100
    assert found["is_joined"].all()
    for source, start, end, step_text, _ in found.iter_rows():
        assert 0 <= start < end <= len(source)
        assert step_text is None or source[start:end] == step_text


def test_every_published_table_was_checked_and_no_error_let_through(done: Path) -> None:
    checked = {table for (table,) in rows(done, 'select distinct "table" from out_checks')}
    published = {table for (table,) in rows(done, 'select distinct "table" from published')}
    assert published <= checked
    assert rows(done, "select count(*) from out_checks where severity = 'error' and outcome <> 'passed'") == [(0,)]


def test_pages_need_no_network(done: Path) -> None:
    pages = list((done / "root" / "reports" / "slice").rglob("*.html"))
    assert len(pages) > 5
    for page in pages:
        text = page.read_text()
        assert 'src="http' not in text
        assert 'href="http' not in text
        assert "url(http" not in text


def test_a_second_run_reuses_every_stage_and_asks_nothing(done: Path) -> None:
    found = ctd(
        "run", "slice", str(done / "lf"), "--root", str(done / "root"), "--config", str(done / "settings.yaml"),
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    newest = "(select run_id from runs where command = 'run' order by started_at desc limit 1)"
    assert rows(done, f"select distinct is_reused, request_count from out_costs where run_id = {newest}") == [(True, 0)]


def test_a_changed_setting_runs_only_what_depends_on_it(done: Path) -> None:
    found = ctd(
        "run", "slice", str(done / "lf"), "--root", str(done / "root"), "--config", str(done / "settings.yaml"),
        "--set", "evaluate.bootstrap_count=50",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    newest = "(select run_id from runs where command = 'run' order by started_at desc limit 1)"
    assert rows(done, f"select stage from out_costs where run_id = {newest} and not is_reused") == [("evaluate",)]


def test_estimate_and_batch_speak_of_what_is_left_and_ask_nothing(done: Path) -> None:
    options = ("--root", str(done / "root"), "--config", str(done / "settings.yaml"))
    before = rows(done, "select max(asked_at) from raw_traces")
    found = ctd("trace", "slice", "--estimate", *options)
    assert found.returncode == 0, found.stderr[-2000:]
    assert f"0 to send of {TRAIN_COUNT + TEST_COUNT}" in found.stdout
    found = ctd("trace", "slice", "--batch", "write", *options, "--set", "teacher.sample_count=2")
    assert found.returncode == 0, found.stderr[-2000:]
    lines = (done / "root" / "batches" / "slice" / "batch-0001.input.jsonl").read_text().splitlines()
    assert len(lines) == TRAIN_COUNT + TEST_COUNT
    assert rows(done, "select max(asked_at) from raw_traces") == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("ingest", "nowhere", "/no/such/folder"), 2, "there is no such folder"),
        (("run", "mine", str(SAMPLE)), 2, "teacher.prompt_kind is not set"),
        (("run", "a/b"), 2, "dataset name 'a/b'"),
        (("index", "unknown"), 1, "run `ctd ingest unknown` first"),
        (("run", "--set", "distill.seeds=none"), 2, "setting distill.seeds"),
        (("run", "--config", "/no/such.yaml"), 2, "settings file /no/such.yaml"),
        (("sql", "select 1"), 2, "does not exist"),
    ],
)
def test_bad_input_gives_one_message_and_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    found = ctd(*arguments, "--root", str(tmp_path / "root"))
    assert found.returncode == code, found.stderr
    assert message in found.stderr
    assert "Traceback" not in found.stderr


def test_a_teacher_that_is_not_there_stops_the_stage_and_keeps_what_is_stored(done: Path) -> None:
    found = ctd(
        "trace", "slice", "--root", str(done / "root"), "--config", str(done / "settings.yaml"),
        "--set", "teacher.base_url=http://127.0.0.1:9/v1", "--set", "teacher.max_attempts=2",
    )  # fmt: skip
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert "127.0.0.1:9" in found.stderr
    assert rows(done, "select count(*) from raw_traces") == [(TRAIN_COUNT + TEST_COUNT,)]


def test_answers_of_test_documents_do_not_depend_on_their_targets(done: Path, tmp_path: Path) -> None:
    data = write_slice(tmp_path / "lf")
    documents = [json.loads(line) for line in (data / "tst.json").read_text().splitlines()]
    changed = [document | {"target_ind": [4999], "target_rel": [1.0]} for document in documents]
    (data / "tst.json").write_text("\n".join(map(json.dumps, changed)) + "\n")
    root = str(tmp_path / "root")
    options = ("--root", root, "--config", str(done / "settings.yaml"))
    for stage in (("ingest", "slice", str(data)), ("index", "slice"), ("trace", "slice")):
        found = ctd(*stage, *options)
        assert found.returncode == 0, found.stderr[-2000:]
    select = "select document_id, completion_text, reasoning_text from raw_traces where split = 'test' order by 1"
    first, second = query_warehouse(done / "root", select), query_warehouse(Path(root), select)
    assert first.height == TEST_COUNT
    assert pl.DataFrame(first).equals(second)
