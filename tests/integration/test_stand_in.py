"""The stand-in as a server: what it is told, that it is blind to test targets, and what it does not take."""

import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from schemas.config import TeacherConfig
from schemas.errors import ConfigError, FatalTeacherError, StorageError
from tasks.traces import task as traces
from tasks.traces.prompts import open_prompt
from tasks.traces.stand_in.serving import stand_in_app
from tasks.traces.stand_in.task import load_server, serve_stand_in, write_stand_in_brief
from tests.support.asked_sample import (
    EMBED,
    TEST,
    Sample,
    Served,
    generate,
    sample_run,
    start_client,
    wait_for,
    write_relevance,
)
from warehouse.parquet import read_table
from warehouse.stand_in_files import read_brief


def test_generate_traces_asks_a_changed_stand_in_again(sample: Sample, tmp_path: Path) -> None:
    run = sample_run(sample, tmp_path)
    plain, changed, delayed = (
        write_stand_in_brief(run, sample.inputs, TeacherConfig.model_validate({"stand_in": settings}), EMBED)[0]
        for settings in ({}, {"flip_rate": 0.5}, {"faults": {"slow_ms": 5.0}})
    )
    assert plain != changed
    assert plain == delayed


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


def test_generate_traces_reports_a_stand_in_that_does_not_start(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_torn_brief(*arguments: Any) -> tuple[str, Path]:  # those of the function it stands for
        name, path = write_stand_in_brief(*arguments)
        (path / "edges.parquet").write_bytes(b"PAR1")
        return name, path

    monkeypatch.setattr(traces, "write_stand_in_brief", write_torn_brief)
    with pytest.raises(FatalTeacherError, match=r"did not start.*ended with code 1(?s:.*)last words(?s:.*)no brief"):
        generate(sample_run(sample, tmp_path), sample)


def test_stand_in_is_told_no_target_of_a_test_document(sample: Sample, tmp_path: Path) -> None:
    documents = read_table(sample.inputs.tables["core_documents"])
    _, path = write_stand_in_brief(sample_run(sample, tmp_path), sample.inputs, TeacherConfig(), EMBED)
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
    run = sample_run(sample, tmp_path)
    changed = sample.inputs.model_copy(update={"tables": sample.inputs.tables | {"core_relevance": write_relevance(run, others)}})
    answers = []
    for inputs in (sample.inputs, changed):
        _, path = write_stand_in_brief(run, inputs, TeacherConfig(), EMBED)
        answers.append(_test_answers(path, sample))
    assert len(answers[0]) == TEST
    assert answers[0] == answers[1]


def _test_answers(brief: Path, sample: Sample) -> list[Any]:  # messages as JSON gives them
    client = TestClient(stand_in_app(load_server(brief)))
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
