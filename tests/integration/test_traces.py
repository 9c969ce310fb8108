"""The trace stage against a real stand-in server: counted there, killed, resumed, and blind to test targets."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import ConfigError, FatalTeacherError, StorageError, TeacherError
from tasks.traces import task as traces
from tests.support.asked_sample import (
    ASKED,
    MISCHIEF,
    Sample,
    Served,
    generate,
    sample_run,
    serve,
    start_client,
    wait_for,
)
from tests.support.runs import tiny_run
from warehouse.journal import open_journal
from warehouse.layout import journal_path
from warehouse.parquet import read_table


@pytest.fixture(scope="module")
def mischievous(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(sample, tmp_path_factory.mktemp("mischief"), faults=MISCHIEF) as server:
        yield server


def test_generate_traces_gives_every_document_a_row_and_starts_nothing_the_second_time(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = generate(sample_run(sample, tmp_path), sample)
    frame = read_table(first.tables[0])
    asked = read_table(sample.inputs.tables["core_documents"]).group_by("split").head(ASKED)
    assert sorted(frame["document_id"]) == sorted(asked["document_id"])
    assert frame["error_kind"].null_count() == len(frame) == first.cost.request_count == 2 * ASKED
    assert set(frame["endpoint"]) == {"stand-in"}
    assert frame["reasoning_text"].null_count() not in (0, len(frame))
    assert first.cost.prompt_tokens == sum(frame["prompt_tokens"].to_list()) > 10_000
    assert first.cost.cost_usd is None

    monkeypatch.setattr(traces, "teacher_address", None)
    second = generate(sample_run(sample, tmp_path, "run-2"), sample)
    assert second.cost.request_count == 0
    assert read_table(second.tables[0]).equals(frame)


def test_generate_traces_asks_an_endpoint_only_what_the_journal_lacks(sample: Sample, served: Served, tmp_path: Path) -> None:
    run, before = sample_run(sample, tmp_path), served.count()
    first = generate(run, sample, **served.settings, max_documents=10)
    assert served.count() - before == first.cost.request_count == 20
    assert generate(run, sample, **served.settings, max_documents=10).cost.request_count == 0
    more = generate(run, sample, **served.settings, max_documents=15)
    assert served.count() - before == 30
    assert (more.cost.request_count, more.tables[0].row_count) == (10, 30)


def test_generate_traces_counts_money_and_keeps_credentials_out_of_its_records(
    sample: Sample, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    prices = {"prompt_usd_per_million": 1.0, "completion_usd_per_million": 2.0, "api_key_env": "MY_KEY"}
    run = sample_run(sample, tmp_path)
    result = generate(run, sample, base_url=f"{served.address}/v1", model="stand-in", max_documents=3, **prices)
    frame = read_table(result.tables[0])
    usd = (sum(frame["prompt_tokens"].to_list()) + 2 * sum(frame["completion_tokens"].to_list())) / 1e6
    assert result.cost.cost_usd == pytest.approx(usd)
    assert set(frame["endpoint"]) == {f"{served.address}/v1"}
    written = journal_path(tmp_path, "sample").read_text() + frame.write_csv()
    assert "sk-very-secret" not in written


@pytest.mark.parametrize("way", ["dense", "lexical", "fused"])
def test_generate_traces_offers_candidates_and_gets_only_those(sample: Sample, served: Served, tmp_path: Path, way: str) -> None:
    asked = {"prompt_kind": "candidates", "candidate_count": 20, "candidates_by": way, "max_documents": 10}
    result = generate(sample_run(sample, tmp_path), sample, **served.settings, **asked)
    frame = read_table(result.tables[0])
    assert set(frame["prompt_kind"]) == {"candidates"}
    assert frame["completion_text"].str.contains(r"\[\d+\] ").all()


def test_generate_traces_ends_every_document_with_an_answer_or_an_error(
    sample: Sample, mischievous: Served, tmp_path: Path
) -> None:
    before = mischievous.count()
    result = generate(sample_run(sample, tmp_path), sample, **mischievous.settings, max_attempts=2, max_error_frac=0.6)
    frame = read_table(result.tables[0])
    assert len(frame) == 2 * ASKED
    assert frame.filter(pl.col("completion_text").is_null() == pl.col("error_kind").is_null()).is_empty()
    assert mischievous.count() - before == sum(frame["attempt_count"].to_list()) > 2 * ASKED
    failed = frame.filter(pl.col("error_kind").is_not_null())
    assert 0 < len(failed) == result.cost.rejected_count < 0.6 * len(frame)
    assert set(failed["error_kind"]) <= {"http_429", "http_500", "broken_body"}
    assert frame.filter(finish_reason="length").height > 0
    assert frame["completion_text"].str.starts_with("I'm ").sum() > 0
    outcomes = mischievous.stats()["outcomes"]
    assert set(MISCHIEF) | {"answered"} == set(outcomes)
    assert sum(outcomes.values()) == mischievous.count()

    again = generate(sample_run(sample, tmp_path, "run-2"), sample, **mischievous.settings, max_attempts=20, max_error_frac=0.0)
    assert again.cost.request_count == len(failed)
    assert read_table(again.tables[0])["error_kind"].null_count() == 2 * ASKED


def test_generate_traces_refuses_too_many_failures_and_keeps_the_answers(
    sample: Sample, mischievous: Served, tmp_path: Path
) -> None:
    with pytest.raises(TeacherError, match=r"requests failed .* max_error_frac 0\.0") as error:
        generate(sample_run(sample, tmp_path), sample, **mischievous.settings, max_attempts=1, max_error_frac=0.0)
    assert not isinstance(error.value, FatalTeacherError)
    assert len(journal_path(tmp_path, "sample").read_text().splitlines()) == 2 * ASKED


def test_generate_traces_stops_at_once_for_an_unknown_model(sample: Sample, served: Served, tmp_path: Path) -> None:
    before = served.count()
    with pytest.raises(FatalTeacherError, match="404, there is no such model or address"):
        generate(sample_run(sample, tmp_path), sample, **served.settings | {"model": "gpt"}, concurrency=2)
    assert served.count() - before <= 2
    assert journal_path(tmp_path, "sample").read_text() == ""


def test_generate_traces_says_that_the_teacher_stopped_and_resumes_when_it_is_back(sample: Sample, tmp_path: Path) -> None:
    run = sample_run(sample, tmp_path)
    with serve(sample, tmp_path, faults={"slow_ms": 60.0}) as server:
        stop = _STOP_AFTER.format(address=server.address, pid=server.process.pid, count=15)
        stopper = subprocess.Popen([sys.executable, "-c", stop])
        with pytest.raises(FatalTeacherError, match=r"connections failed in a row.*the teacher has stopped"):
            generate(run, sample, **server.settings, concurrency=3)
        stopper.wait()
    answers = [json.loads(line) for line in journal_path(tmp_path, "sample").read_text().splitlines()]
    answered_count = sum(answer["error_kind"] is None for answer in answers)
    assert 10 <= answered_count < 2 * ASKED
    with serve(sample, tmp_path, port=int(server.address.rpartition(":")[2])) as back:
        result = generate(run, sample, **back.settings)
        assert back.count() == result.cost.request_count == 2 * ASKED - answered_count


_STOP_AFTER = """
import json, os, signal, time, urllib.request
while json.load(urllib.request.urlopen("{address}/stats"))["request_count"] < {count}:
    time.sleep(0.02)
os.kill({pid}, signal.SIGKILL)
"""


def test_generate_traces_killed_midway_asks_only_what_is_missing(sample: Sample, served: Served, tmp_path: Path) -> None:
    run, before = sample_run(sample, tmp_path), served.count()
    client = start_client(run, sample, **served.settings, concurrency=2)
    wait_for(lambda: served.count() - before >= 20)
    client.send_signal(signal.SIGKILL)
    client.wait()
    time.sleep(0.1)  # requests on their way arrive
    with open_journal(journal_path(tmp_path, "sample")):
        kept = len(journal_path(tmp_path, "sample").read_text().splitlines())
    asked = served.count() - before
    assert 10 <= kept <= asked < 2 * ASKED
    result = generate(run, sample, **served.settings)
    assert served.count() - before - asked == result.cost.request_count == 2 * ASKED - kept
    assert read_table(result.tables[0])["error_kind"].null_count() == 2 * ASKED


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the server by /proc")
def test_stand_in_dies_with_a_killed_run(sample: Sample, tmp_path: Path) -> None:
    client = start_client(sample_run(sample, tmp_path), sample, stand_in={"faults": {"slow_ms": 2000.0}})
    wait_for(lambda: _children(client.pid))
    server = _children(client.pid)[0]
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_for(lambda: not Path(f"/proc/{server}").exists() or "Z" in Path(f"/proc/{server}/stat").read_text().split()[2])


def test_generate_traces_checks_settings_before_it_touches_anything(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        generate(tiny_run(tmp_path, "sample"), sample, base_url="https://api.example/v1", model="big")
    with pytest.raises(ConfigError, match="cannot be read"):
        generate(tiny_run(tmp_path, "sample"), sample, stand_in={"knowledge": str(tmp_path / "none.json")})
    assert list(tmp_path.iterdir()) == []


def test_generate_traces_waits_for_no_other_run(sample: Sample, served: Served, tmp_path: Path) -> None:
    before = served.count()
    with open_journal(journal_path(tmp_path, "sample")), pytest.raises(StorageError, match="another run"):
        generate(sample_run(sample, tmp_path), sample, **served.settings)
    assert served.count() == before
