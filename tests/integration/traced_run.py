"""A tiny dataset with its label index and a handful of teacher answers, for the stages after the teacher."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from schemas.config import EmbedConfig, IndexConfig, IngestConfig
from schemas.refs import RunRef, StageInputs
from schemas.tables import RAW_TRACES
from tasks.datasets.task import ingest_dataset
from tasks.labels.embedder import hash_text, label_text
from tasks.labels.search import Vectors
from tasks.labels.task import index_labels, open_embedder
from tests.support.runs import tiny_lf, tiny_run
from warehouse.parquet import read_table, write_table

EMBED = EmbedConfig()
WIDTH = 16

PROSE = """The document is about a small editor. Candidates: "editor", "web server" and "pocket knife".
Looking at editor again: it fits, so I keep it.
web server is close to editor, but nothing speaks for it. Drop it."""
JSON = json.dumps(
    {
        "shortlist": [{"label": "game"}, {"label": "imagee viewer"}],
        "steps": [{"label": "imagee viewer", "verdict": "drop", "compared_to": "game", "reason": "no pictures"}],
        "answer": [{"label": "Game", "confidence": 0.8}],
    }
)
TAGGED = (
    "<shortlist>\neditor\nsoftware for pictures\n</shortlist>\n<reasoning>editor: keep</reasoning>\n<answer>\neditor\n</answer>"
)
ANSWERS: tuple[dict[str, Any], ...] = (
    {"document_id": "t0", "split": "test", "completion_text": "- editor", "reasoning_text": PROSE},
    {"document_id": "t4", "split": "test", "completion_text": JSON},
    {"document_id": "d0", "split": "train", "completion_text": TAGGED},
    {"document_id": "d1", "split": "train", "error_kind": "TransientTeacherError", "error_text": "429"},
)


def store_vectors(run: RunRef, vectors: dict[str, Vectors], token_count: int) -> None:
    """Put vectors of texts into the run's embedding cache, so that no model is loaded."""
    open_embedder(run, EMBED, token_count).store.append([hash_text(text) for text in vectors], np.stack(list(vectors.values())))


def unit(direction: int) -> Vectors:
    """A unit vector along one axis."""
    return np.asarray(np.eye(WIDTH, dtype=np.float32)[direction])


def traced_run(folder: Path, answers: tuple[dict[str, Any], ...] = ANSWERS) -> tuple[RunRef, StageInputs]:
    """A run with documents, labels (label i along axis i), relevance, the label index and `raw_traces`."""
    run = tiny_run(folder / "root")
    tables = ingest_dataset.fn(run, IngestConfig(path=str(tiny_lf(folder / "lf")))).tables
    inputs = StageInputs(tables={ref.table: ref for ref in tables}, artifacts={})
    labels = read_table(inputs.tables["core_labels"])
    texts = [label_text(name, text) for name, text in labels.select("label_name", "description_text").iter_rows()]
    documents = read_table(inputs.tables["core_documents"])["document_text"].to_list()
    store_vectors(run, {text: unit(i) for i, text in enumerate(texts)}, EMBED.label_tokens)
    store_vectors(run, {text: unit(i) for i, text in enumerate(documents)}, EMBED.document_tokens)
    index = index_labels.fn(run, inputs, IndexConfig(), EMBED)
    raw = write_table(run, "trace", RAW_TRACES, raw_frame(run, answers))
    return run, StageInputs(tables={**inputs.tables, "raw_traces": raw}, artifacts={"label_index": index.artifacts[0]})


def raw_frame(run: RunRef, answers: tuple[dict[str, Any], ...]) -> pl.DataFrame:
    """`raw_traces` with these columns set and the others as in a plain answer."""
    plain = {
        "dataset": run.dataset, "split": "train", "teacher": "t", "endpoint": "e", "prompt_kind": "open", "variant": "both",
        "asked_form": "json",
        "messages_hash": "m",
        "sample_index": 0, "finish_reason": "stop", "attempt_count": 1, "completion_text": None, "reasoning_text": None,
    }  # fmt: skip
    rows = [
        dict.fromkeys(RAW_TRACES.columns) | plain | {"request_hash": f"{i:064x}"} | answer for i, answer in enumerate(answers)
    ]
    return pl.DataFrame(rows, schema=RAW_TRACES.schema)
