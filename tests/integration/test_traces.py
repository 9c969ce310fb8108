"""The trace stage against a real stand-in server: counted there, killed, resumed, and blind to test targets."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

import samples
from schemas.config import EmbedConfig, TeacherConfig
from schemas.errors import ConfigError, FatalTeacherError, StorageError, TeacherError
from schemas.refs import RunRef, StageInputs, StageResult, TableRef
from schemas.tables import CORE_DOCUMENTS, CORE_LABELS, CORE_RELEVANCE
from tasks.labels.embedder import hash_text
from tasks.traces import task as traces
from tasks.traces.process import running_server
from tasks.traces.prompts import open_prompt
from tasks.traces.task import generate_traces, load_server, serve_stand_in, write_stand_in_brief
from tests.support.runs import tiny_run
from warehouse.embedding_store import EmbeddingStore
from warehouse.index_store import IndexManifest, save_index
from warehouse.journal import open_journal
from warehouse.layout import artifact_path, journal_path
from warehouse.parquet import artifact_ref, read_table, write_table
from warehouse.stand_in_files import read_brief

SAMPLE = Path(samples.__file__).parent / "debian_seealso_small"
TRAIN, TEST, ASKED = 150, 30, 30
EMBED = EmbedConfig()
OPEN = {"prompt_kind": "open", "max_documents": ASKED, "retry_pause_s": 0.02}
MISCHIEF = {"rate_limited": 0.15, "server_error": 0.15, "broken_json": 0.15, "cut_off": 0.1, "refusal": 0.1}


@dataclass(frozen=True)
class Sample:
    """The first documents of the sample with all its labels, and vectors of hashed words instead of a model's."""

    root: Path
    inputs: StageInputs


def _lines(name: str, count: int | None = None) -> list[Any]:  # JSON objects: each key has its own type
    with gzip.open(SAMPLE / name, "rt") as file:
        return [json.loads(line) for line in file][:count]


def _word_vectors(texts: list[str]) -> NDArray[np.float32]:
    out = np.zeros((len(texts), 64), np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().split():
            out[row, int(hash_text(word)[:4], 16) % 64] += 1
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    run = tiny_run(tmp_path_factory.mktemp("sample"), "sample")
    rows = [
        (split, i, d)
        for split, name, n in (("train", "trn", TRAIN), ("test", "tst", TEST))
        for i, d in enumerate(_lines(f"{name}.json.gz", n))
    ]
    texts = [f"{d['title']}\n{d['content']}" for _, _, d in rows]
    documents = pl.DataFrame(
        {
            "dataset": "sample",
            "document_id": [d["uid"] for _, _, d in rows],
            "split": [split for split, _, _ in rows],
            "source_line": [i for _, i, _ in rows],
            "title_text": [d["title"] for _, _, d in rows],
            "document_text": texts,
            "text_hash": [hash_text(text) for text in texts],
        }
    )
    targets = [(d["uid"], split, label) for split, _, d in rows for label in d["target_ind"]]
    relevance = pl.DataFrame(targets, schema=["document_id", "split", "label_id"], orient="row")
    labels = pl.DataFrame(_lines("lbl.json.gz")).with_row_index("label_id")
    labels = labels.select("label_id", label_uid="uid", label_name="title", description_text="content", text_hash="uid")
    tables = {
        "core_documents": write_table(run, "ingest", CORE_DOCUMENTS, CORE_DOCUMENTS.conform(documents)),
        "core_labels": write_table(
            run, "ingest", CORE_LABELS, CORE_LABELS.conform(labels.with_columns(dataset=pl.lit("sample")))
        ),
        "core_relevance": _write_relevance(run, relevance),
    }
    EmbeddingStore(run.root_path, "packaged-minilm-96").append(documents["text_hash"].to_list(), _word_vectors(texts))
    path = artifact_path(run.root_path, run.run_id, "index", "label_index")
    vectors = _word_vectors(labels["label_name"].to_list())
    manifest = IndexManifest(
        embedder="words", token_count=32, label_count=len(vectors), d_model=64, labels_hash=tables["core_labels"].content_hash,
        is_exact=True, connectivity=0, expansion_add=0, expansion_search=0, recall_at_10=1.0, recall_at_100=1.0,
        recall_sample_count=0, min_recall_at_10=0.0, min_recall_at_100=0.0,
    )  # fmt: skip
    save_index(path, labels["label_id"].cast(pl.Int32).to_numpy(), vectors, None, manifest)
    return Sample(
        run.root_path, StageInputs(tables=tables, artifacts={"label_index": artifact_ref(run, "index", "label_index", path)})
    )


def _write_relevance(run: RunRef, pairs: pl.DataFrame) -> TableRef:
    frame = pairs.with_columns(dataset=pl.lit("sample"), relevance=pl.lit(1.0), is_filtered=pl.lit(False))
    return write_table(run, "ingest", CORE_RELEVANCE, CORE_RELEVANCE.conform(frame))


def _run(sample: Sample, root: Path, run_id: str = "run-1") -> RunRef:
    """A run in a data root of its own, which shares the sample's vectors."""
    if not (root / "cache").exists():
        shutil.copytree(sample.root / "cache", root / "cache")
    return tiny_run(root, "sample", run_id)


def _generate(run: RunRef, sample: Sample, **settings: Any) -> StageResult:  # each setting has its own type
    return generate_traces.fn(run, sample.inputs, TeacherConfig.model_validate(OPEN | settings), EMBED)


@dataclass(frozen=True)
class Served:
    """A stand-in started from outside a run, as `ctd teacher` does."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def settings(self) -> dict[str, Any]:
        return {"base_url": f"{self.address}/v1", "model": "stand-in"}

    def stats(self) -> Any:  # a JSON object
        with urllib.request.urlopen(f"{self.address}/stats") as response:
            return json.load(response)

    def count(self) -> int:
        return int(self.stats()["request_count"])


@contextmanager
def _served(sample: Sample, root: Path, port: int = 0, **stand_in: Any) -> Iterator[Served]:  # each setting has its own type
    teacher = TeacherConfig.model_validate(OPEN | {"stand_in": stand_in})
    _, brief = write_stand_in_brief(_run(sample, root, "teacher"), sample.inputs, teacher, EMBED)
    code = f"from tasks.traces.task import serve_stand_in; serve_stand_in({str(brief)!r}, port={port}, is_watched=True)"
    environment = os.environ | {"PYTHONPATH": str(Path(samples.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with running_server([sys.executable, "-c", code], environment, sys.stderr.buffer) as server:
        yield Served(server.address, server.process)


@pytest.fixture(scope="module")
def served(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with _served(sample, tmp_path_factory.mktemp("served"), faults={"slow_ms": 20.0}) as server:
        yield server


@pytest.fixture(scope="module")
def mischievous(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with _served(sample, tmp_path_factory.mktemp("mischief"), faults=MISCHIEF) as server:
        yield server


def test_generate_traces_gives_every_document_a_row_and_starts_nothing_the_second_time(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _generate(_run(sample, tmp_path), sample)
    frame = read_table(first.tables[0])
    asked = read_table(sample.inputs.tables["core_documents"]).group_by("split").head(ASKED)
    assert sorted(frame["document_id"]) == sorted(asked["document_id"])
    assert frame["error_kind"].null_count() == len(frame) == first.cost.request_count == 2 * ASKED
    assert set(frame["endpoint"]) == {"stand-in"}
    assert frame["reasoning_text"].null_count() not in (0, len(frame))
    assert first.cost.prompt_tokens == sum(frame["prompt_tokens"].to_list()) > 10_000
    assert first.cost.cost_usd is None

    monkeypatch.setattr(traces, "running_server", None)
    second = _generate(_run(sample, tmp_path, "run-2"), sample)
    assert second.cost.request_count == 0
    assert read_table(second.tables[0]).equals(frame)


def test_generate_traces_asks_a_changed_stand_in_again(sample: Sample, tmp_path: Path) -> None:
    plain, changed, delayed = (
        write_stand_in_brief(_run(sample, tmp_path), sample.inputs, TeacherConfig.model_validate({"stand_in": settings}), EMBED)[
            0
        ]
        for settings in ({}, {"flip_rate": 0.5}, {"faults": {"slow_ms": 5.0}})
    )
    assert plain != changed
    assert plain == delayed


def test_generate_traces_asks_an_endpoint_only_what_the_journal_lacks(sample: Sample, served: Served, tmp_path: Path) -> None:
    run, before = _run(sample, tmp_path), served.count()
    first = _generate(run, sample, **served.settings, max_documents=10)
    assert served.count() - before == first.cost.request_count == 20
    assert _generate(run, sample, **served.settings, max_documents=10).cost.request_count == 0
    more = _generate(run, sample, **served.settings, max_documents=15)
    assert served.count() - before == 30
    assert (more.cost.request_count, more.tables[0].row_count) == (10, 30)


def test_generate_traces_counts_money_and_keeps_credentials_out_of_its_records(
    sample: Sample, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    prices = {"prompt_usd_per_million": 1.0, "completion_usd_per_million": 2.0, "api_key_env": "MY_KEY"}
    run = _run(sample, tmp_path)
    result = _generate(run, sample, base_url=f"{served.address}/v1", model="stand-in", max_documents=3, **prices)
    frame = read_table(result.tables[0])
    usd = (sum(frame["prompt_tokens"].to_list()) + 2 * sum(frame["completion_tokens"].to_list())) / 1e6
    assert result.cost.cost_usd == pytest.approx(usd)
    assert set(frame["endpoint"]) == {f"{served.address}/v1"}
    written = journal_path(tmp_path, "sample").read_text() + frame.write_csv()
    assert "sk-very-secret" not in written


def test_generate_traces_offers_candidates_and_gets_only_those(sample: Sample, served: Served, tmp_path: Path) -> None:
    result = _generate(
        _run(sample, tmp_path), sample, **served.settings, prompt_kind="candidates", candidate_count=20, max_documents=10
    )
    frame = read_table(result.tables[0])
    assert set(frame["prompt_kind"]) == {"candidates"}
    assert frame["completion_text"].str.contains(r"\[\d+\] ").all()


def test_generate_traces_ends_every_document_with_an_answer_or_an_error(
    sample: Sample, mischievous: Served, tmp_path: Path
) -> None:
    before = mischievous.count()
    result = _generate(_run(sample, tmp_path), sample, **mischievous.settings, max_attempts=2, max_error_frac=0.6)
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

    again = _generate(_run(sample, tmp_path, "run-2"), sample, **mischievous.settings, max_attempts=20, max_error_frac=0.0)
    assert again.cost.request_count == len(failed)
    assert read_table(again.tables[0])["error_kind"].null_count() == 2 * ASKED


def test_generate_traces_refuses_too_many_failures_and_keeps_the_answers(
    sample: Sample, mischievous: Served, tmp_path: Path
) -> None:
    with pytest.raises(TeacherError, match=r"requests failed .* max_error_frac 0\.0") as error:
        _generate(_run(sample, tmp_path), sample, **mischievous.settings, max_attempts=1, max_error_frac=0.0)
    assert not isinstance(error.value, FatalTeacherError)
    assert len(journal_path(tmp_path, "sample").read_text().splitlines()) == 2 * ASKED


def test_generate_traces_stops_at_once_for_an_unknown_model(sample: Sample, served: Served, tmp_path: Path) -> None:
    before = served.count()
    with pytest.raises(FatalTeacherError, match="404, there is no such model or address"):
        _generate(_run(sample, tmp_path), sample, **served.settings | {"model": "gpt"}, concurrency=2)
    assert served.count() - before <= 2
    assert journal_path(tmp_path, "sample").read_text() == ""


def test_generate_traces_says_that_the_teacher_stopped_and_resumes_when_it_is_back(sample: Sample, tmp_path: Path) -> None:
    run = _run(sample, tmp_path)
    with _served(sample, tmp_path, faults={"slow_ms": 60.0}) as server:
        stop = _STOP_AFTER.format(address=server.address, pid=server.process.pid, count=15)
        stopper = subprocess.Popen([sys.executable, "-c", stop])
        with pytest.raises(FatalTeacherError, match=r"connections failed in a row.*the teacher has stopped"):
            _generate(run, sample, **server.settings, concurrency=3)
        stopper.wait()
    answers = [json.loads(line) for line in journal_path(tmp_path, "sample").read_text().splitlines()]
    answered_count = sum(answer["error_kind"] is None for answer in answers)
    assert 10 <= answered_count < 2 * ASKED
    with _served(sample, tmp_path, port=int(server.address.rpartition(":")[2])) as back:
        result = _generate(run, sample, **back.settings)
        assert back.count() == result.cost.request_count == 2 * ASKED - answered_count


_STOP_AFTER = """
import json, os, signal, time, urllib.request
while json.load(urllib.request.urlopen("{address}/stats"))["request_count"] < {count}:
    time.sleep(0.02)
os.kill({pid}, signal.SIGKILL)
"""

_CLIENT = """
import sys
from schemas.config import EmbedConfig, TeacherConfig
from schemas.refs import RunRef, StageInputs
from tasks.traces.task import generate_traces
run, inputs, teacher = (kind.model_validate_json(text) for kind, text in zip((RunRef, StageInputs, TeacherConfig), sys.argv[1:]))
generate_traces.fn(run, inputs, teacher, EmbedConfig())
"""


def _start_client(run: RunRef, sample: Sample, **settings: Any) -> subprocess.Popen[bytes]:  # each setting has its own type
    teacher = TeacherConfig.model_validate(OPEN | settings)
    arguments = [value.model_dump_json() for value in (run, sample.inputs, teacher)]
    environment = os.environ | {"PYTHONPATH": str(Path(samples.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", _CLIENT, *arguments], env=environment)


def _wait_for(condition: Any, seconds: float = 30.0) -> None:  # a function without arguments, of any truth value
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_generate_traces_killed_midway_asks_only_what_is_missing(sample: Sample, served: Served, tmp_path: Path) -> None:
    run, before = _run(sample, tmp_path), served.count()
    client = _start_client(run, sample, **served.settings, concurrency=2)
    _wait_for(lambda: served.count() - before >= 20)
    client.send_signal(signal.SIGKILL)
    client.wait()
    time.sleep(0.1)  # requests on their way arrive
    with open_journal(journal_path(tmp_path, "sample")):
        kept = len(journal_path(tmp_path, "sample").read_text().splitlines())
    asked = served.count() - before
    assert 10 <= kept <= asked < 2 * ASKED
    result = _generate(run, sample, **served.settings)
    assert served.count() - before - asked == result.cost.request_count == 2 * ASKED - kept
    assert read_table(result.tables[0])["error_kind"].null_count() == 2 * ASKED


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the server by /proc")
def test_stand_in_dies_with_a_killed_run(sample: Sample, tmp_path: Path) -> None:
    client = _start_client(_run(sample, tmp_path), sample, stand_in={"faults": {"slow_ms": 2000.0}})
    _wait_for(lambda: _children(client.pid))
    server = _children(client.pid)[0]
    client.send_signal(signal.SIGKILL)
    client.wait()
    _wait_for(lambda: not Path(f"/proc/{server}").exists() or "Z" in Path(f"/proc/{server}/stat").read_text().split()[2])


def test_generate_traces_reports_a_stand_in_that_does_not_start(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_torn_brief(*arguments: Any) -> tuple[str, Path]:  # those of the function it stands for
        name, path = write_stand_in_brief(*arguments)
        (path / "edges.parquet").write_bytes(b"PAR1")
        return name, path

    monkeypatch.setattr(traces, "write_stand_in_brief", write_torn_brief)
    with pytest.raises(FatalTeacherError, match=r"did not start.*ended with code 1(?s:.*)last words(?s:.*)no brief"):
        _generate(_run(sample, tmp_path), sample)


def test_generate_traces_checks_settings_before_it_touches_anything(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        _generate(tiny_run(tmp_path, "sample"), sample, base_url="https://api.example/v1", model="big")
    with pytest.raises(ConfigError, match="cannot be read"):
        _generate(tiny_run(tmp_path, "sample"), sample, stand_in={"knowledge": str(tmp_path / "none.json")})
    assert list(tmp_path.iterdir()) == []


def test_generate_traces_waits_for_no_other_run(sample: Sample, served: Served, tmp_path: Path) -> None:
    before = served.count()
    with open_journal(journal_path(tmp_path, "sample")), pytest.raises(StorageError, match="another run"):
        _generate(_run(sample, tmp_path), sample, **served.settings)
    assert served.count() == before


def test_stand_in_is_told_no_target_of_a_test_document(sample: Sample, tmp_path: Path) -> None:
    documents = read_table(sample.inputs.tables["core_documents"])
    _, path = write_stand_in_brief(_run(sample, tmp_path), sample.inputs, TeacherConfig(), EMBED)
    _, targets, edges = read_brief(path)
    train = documents.filter(split="train")
    assert set(targets["text_hash"]) == set(train["text_hash"])
    assert not set(targets["text_hash"]) & set(documents.filter(split="test")["text_hash"])
    only_tested = _only_test_targets(sample)
    assert only_tested
    assert not only_tested & {*targets["label_id"], *edges["a"], *edges["b"]}


def _only_test_targets(sample: Sample) -> set[int]:
    relevance = read_table(sample.inputs.tables["core_relevance"])
    return set(relevance.filter(split="test")["label_id"]) - set(relevance.filter(split="train")["label_id"])


def test_stand_in_answers_test_documents_alike_whatever_their_targets(sample: Sample, tmp_path: Path) -> None:
    relevance = read_table(sample.inputs.tables["core_relevance"]).select("document_id", "split", "label_id")
    others = relevance.with_columns(label_id=pl.when(split="test").then((pl.col("label_id") + 1234) % 5000).otherwise("label_id"))
    run = _run(sample, tmp_path)
    changed = sample.inputs.model_copy(
        update={"tables": sample.inputs.tables | {"core_relevance": _write_relevance(run, others)}}
    )
    answers = []
    for inputs in (sample.inputs, changed):
        _, path = write_stand_in_brief(run, inputs, TeacherConfig(), EMBED)
        answers.append(_test_answers(path, sample))
    assert len(answers[0]) == TEST
    assert answers[0] == answers[1]


def _test_answers(brief: Path, sample: Sample) -> list[Any]:  # messages as JSON gives them
    client = TestClient(load_server(brief).app())
    texts = read_table(sample.inputs.tables["core_documents"]).filter(split="test")["document_text"]
    bodies = [{"model": "stand-in", "messages": open_prompt(text, 5000, ["a"]).messages()} for text in texts]
    return [client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"] for body in bodies]


def test_stand_in_speaks_the_api_and_says_what_it_does_not_take(served: Served) -> None:
    with urllib.request.urlopen(f"{served.address}/v1/models") as response:
        model = json.load(response)["data"][0]["id"]
    assert model.startswith("stand-in-")
    user = {"role": "user", "content": "no document"}
    document = open_prompt("text", 2, ["a"]).messages()
    for body, status, message in (
        (b"{", 404, "does not exist"),
        ({"model": "gpt", "messages": document}, 404, "'gpt' does not exist"),
        ({"model": model, "messages": [user]}, 400, "<document>"),
        ({"model": model, "messages": "text"}, 400, "<document>"),
        ({"model": model, "messages": document, "stream": True}, 400, "stream"),
        ({"model": model, "messages": document, "n": 2}, 400, "`n` must be 1"),
    ):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{served.address}/v1/chat/completions", data)
        assert error.value.code == status
        assert message in json.load(error.value)["error"]["message"]


def test_serve_stand_in_says_that_its_port_is_taken(served: Served, tmp_path: Path) -> None:
    port = int(served.address.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"cannot serve on 127.0.0.1:{port}"):
        serve_stand_in(str(tmp_path), port=port)


def test_serve_stand_in_says_that_a_folder_is_no_brief(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no brief of the stand-in"):
        serve_stand_in(str(tmp_path))
