"""The first documents of the sample to ask about, a stand-in that serves them, and clients to start and kill."""

import gzip
import json
import os
import shutil
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
from numpy.typing import NDArray

import samples
from schemas.config import EmbedConfig, TeacherConfig
from schemas.refs import RunRef, StageInputs, StageResult, TableRef
from schemas.tables import CORE_DOCUMENTS, CORE_LABELS, CORE_RELEVANCE
from tasks.labels.embedder import hash_text
from tasks.labels.task import open_embedder
from tasks.traces.process import running_server
from tasks.traces.stand_in.task import write_stand_in_brief
from tasks.traces.task import generate_traces
from tests.support.label_indexes import save_exact_index
from tests.support.runs import tiny_run
from warehouse.layout import artifact_path
from warehouse.parquet import artifact_ref, write_table

SAMPLE = Path(samples.__file__).parent / "debian_seealso_small"
TRAIN, TEST, ASKED = 150, 30, 30
EMBED = EmbedConfig()
OPEN = {"prompt_kind": "open", "answer_form": "json", "max_documents": ASKED, "retry_pause_s": 0.02}
MISCHIEF = {"rate_limited": 0.15, "server_error": 0.15, "broken_json": 0.15, "cut_off": 0.1, "refusal": 0.1}


@dataclass(frozen=True)
class Sample:
    """The first documents of the sample with all its labels, and vectors of hashed words instead of a model's."""

    root: Path
    inputs: StageInputs


def sample_lines(name: str, count: int | None = None) -> list[Any]:  # JSON objects: each key has its own type
    with gzip.open(SAMPLE / name, "rt") as file:
        return [json.loads(line) for line in file][:count]


def word_vectors(texts: list[str]) -> NDArray[np.float32]:
    out = np.zeros((len(texts), 64), np.float32)
    for row, text in enumerate(texts):
        for word in text.lower().split():
            out[row, int(hash_text(word)[:4], 16) % 64] += 1
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True), dtype=np.float32)


def make_sample(root: Path) -> Sample:
    """The sample with its tables and label index below `root`."""
    run = tiny_run(root, "sample")
    rows = [
        (split, i, d)
        for split, name, n in (("train", "trn", TRAIN), ("test", "tst", TEST))
        for i, d in enumerate(sample_lines(f"{name}.json.gz", n))
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
    labels = pl.DataFrame(sample_lines("lbl.json.gz")).with_row_index("label_id")
    labels = labels.select("label_id", label_uid="uid", label_name="title", description_text="content", text_hash="uid")
    tables = {
        "core_documents": write_table(run, "ingest", CORE_DOCUMENTS, CORE_DOCUMENTS.conform(documents)),
        "core_labels": write_table(
            run, "ingest", CORE_LABELS, CORE_LABELS.conform(labels.with_columns(dataset=pl.lit("sample")))
        ),
        "core_relevance": write_relevance(run, relevance),
    }
    open_embedder(run, EmbedConfig(), 96).store.append(documents["text_hash"].to_list(), word_vectors(texts))
    path = artifact_path(run.root_path, run.run_id, "index", "label_index")
    vectors = word_vectors(labels["label_name"].to_list())
    save_exact_index(path, labels["label_id"].cast(pl.Int32).to_numpy(), vectors, tables["core_labels"].content_hash)
    return Sample(
        run.root_path, StageInputs(tables=tables, artifacts={"label_index": artifact_ref(run, "index", "label_index", path)})
    )


def write_relevance(run: RunRef, pairs: pl.DataFrame) -> TableRef:
    frame = pairs.with_columns(dataset=pl.lit("sample"), relevance=pl.lit(1.0), is_filtered=pl.lit(False))
    return write_table(run, "ingest", CORE_RELEVANCE, CORE_RELEVANCE.conform(frame))


def sample_run(sample: Sample, root: Path, run_id: str = "run-1") -> RunRef:
    """A run in a data root of its own, which shares the sample's vectors."""
    if not (root / "cache").exists():
        shutil.copytree(sample.root / "cache", root / "cache")
    return tiny_run(root, "sample", run_id)


def generate(run: RunRef, sample: Sample, **settings: Any) -> StageResult:  # each setting has its own type
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
def serve(sample: Sample, root: Path, port: int = 0, **stand_in: Any) -> Iterator[Served]:  # each setting has its own type
    teacher = TeacherConfig.model_validate(OPEN | {"stand_in": stand_in})
    _, brief = write_stand_in_brief(sample_run(sample, root, "teacher"), sample.inputs, teacher, EMBED)
    code = f"from tasks.traces.stand_in.task import serve_stand_in; serve_stand_in({str(brief)!r}, port={port}, is_watched=True)"
    environment = os.environ | {"PYTHONPATH": str(Path(samples.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with running_server([sys.executable, "-c", code], environment, sys.stderr.buffer) as server:
        yield Served(server.address, server.process)


_CLIENT = """
import sys
from schemas.config import EmbedConfig, TeacherConfig
from schemas.refs import RunRef, StageInputs
from tasks.traces.task import generate_traces
run, inputs, teacher = (kind.model_validate_json(text) for kind, text in zip((RunRef, StageInputs, TeacherConfig), sys.argv[1:]))
generate_traces.fn(run, inputs, teacher, EmbedConfig())
"""


def start_client(run: RunRef, sample: Sample, **settings: Any) -> subprocess.Popen[bytes]:  # each setting has its own type
    teacher = TeacherConfig.model_validate(OPEN | settings)
    arguments = [value.model_dump_json() for value in (run, sample.inputs, teacher)]
    environment = os.environ | {"PYTHONPATH": str(Path(samples.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", _CLIENT, *arguments], env=environment)


def wait_for(condition: Any, seconds: float = 30.0) -> None:  # a function without arguments, of any truth value
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
