"""The real thing: `transformers serve` with a language model built here answers through the same client."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from schemas.config import ParseConfig, TeacherConfig
from schemas.refs import RunRef, StageInputs
from tasks.parsing.task import parse_traces
from tasks.traces.prompts import Wish, open_prompt, spread_examples
from tasks.traces.task import generate_traces
from tests.integration.traced_run import EMBED, traced_run
from tests.support.tiny_teacher import build_teacher
from warehouse.parquet import read_table
from warehouse.server_memory import remembered_form

START_TIMEOUT_S = 120.0
STRUCTURED = json.dumps(
    {
        "shortlist": [{"label": "editor"}, {"label": "game"}],
        "steps": [
            {"label": "editor", "verdict": "keep", "compared_to": None, "reason": "the text says editor"},
            {"label": "game", "verdict": "drop", "compared_to": "editor", "reason": "nothing is played"},
        ],
        "answer": [{"label": "editor", "confidence": 0.9}],
    }
)
FREE = """Possible labels: "editor" and "game".
editor fits, because the text says so, so I keep it.
game does not fit. Drop it.

Answer:
editor"""


@dataclass(frozen=True)
class Served:
    """A model behind `transformers serve`, and a run whose documents it knows."""

    settings: dict[str, object]
    run: RunRef
    inputs: StageInputs


@contextmanager
def transformers_serve(model: Path, home: Path) -> Iterator[str]:
    """The base URL of a server of this model; it ends with the block."""
    (home / "hub").mkdir(parents=True)  # its model list fails without it
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(model), "--port", str(port), "--device", "cpu"]
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    with (home / "log").open("wb") as log:
        server = subprocess.Popen([*command, "--host", "127.0.0.1"], env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_healthy(port):
            assert server.poll() is None and time.monotonic() < deadline, (home / "log").read_text()[-3000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def is_healthy(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    run, inputs = traced_run(folder)
    labels = read_table(inputs.tables["core_labels"])
    examples = spread_examples(labels["label_name"].to_list())
    texts = read_table(inputs.tables["core_documents"])["document_text"].to_list()
    known = [
        (open_prompt(text, labels.height, examples, Wish("both", form)).messages(), answer)
        for text in texts
        for form, answer in (("json_schema", STRUCTURED), ("free", FREE))
    ]
    assert build_teacher(folder / "model", known) < 0.05
    with transformers_serve(folder / "model", folder / "hf") as base_url:
        settings = {"base_url": base_url, "model": str(folder / "model"), "prompt_kind": "open", "max_completion_tokens": 256}
        yield Served(settings, run, inputs)


def ask(served: Served, **settings: object) -> tuple[pl.DataFrame, StageInputs]:
    """`raw_traces` of these settings, and the inputs of the next stage."""
    teacher = TeacherConfig.model_validate(served.settings | {"concurrency": 2} | settings)
    result = generate_traces.fn(served.run, served.inputs, teacher, EMBED)
    inputs = served.inputs.model_copy(update={"tables": served.inputs.tables | {"raw_traces": result.tables[0]}})
    return read_table(result.tables[0]), inputs


@pytest.mark.parametrize("stream", ["off", "on"])
def test_transformers_serve_answers_free_and_structured_and_is_parsed(served: Served, stream: str) -> None:
    for form, answer_format, answer in (("json_schema", "json", STRUCTURED), ("free", "prose", FREE)):
        seed = 1 if stream == "on" else 0  # a key of its own: else the second round would be answered by the journal
        raw, inputs = ask(served, answer_form=form, stream=stream, seed=seed)
        assert raw["error_text"].drop_nulls().to_list() == []
        assert set(raw["completion_text"]) == {answer}
        assert raw["prompt_tokens"].min() > 100  # type: ignore[operator]  # not null: checked by the comparison
        assert set(raw["finish_reason"]) == {"stop"}
        parsed = {ref.table: read_table(ref) for ref in parse_traces.fn(served.run, inputs, ParseConfig(), EMBED).tables}
        assert parsed["core_rejects"].is_empty()
        assert set(parsed["core_traces"]["answer_format"]) == {answer_format}
        assert set(parsed["core_shortlist"]["mention_text"]) == {"editor", "game"}
        assert set(parsed["core_answers"]["mention_text"]) == {"editor"}


def test_transformers_serve_is_learned_to_follow_the_schema(served: Served) -> None:
    raw, _ = ask(served, answer_form="auto", seed=7)
    assert set(raw["asked_form"]) == {"json_schema"}
    base_url, model = (str(served.settings[name]) for name in ("base_url", "model"))
    assert remembered_form(served.run.root_path, base_url, model) == "json_schema"


def test_transformers_serve_cuts_a_long_answer_and_the_row_says_so(served: Served) -> None:
    raw, _ = ask(served, answer_form="json_schema", max_completion_tokens=16, seed=3)
    assert set(raw["finish_reason"]) == {"length"}
    assert raw["completion_tokens"].to_list() == [16] * raw.height
