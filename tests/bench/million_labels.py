"""The index stage on many labels whose vectors are cached, and again with a thousand more: `python -m tests.bench.million_labels
ROOT VECTORS.npy QUERIES.npy COUNT`. Prints one line of JSON: seconds by part, CPU seconds, peak memory, recall, sizes."""

import json
import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from schemas.config import EmbedConfig, IndexConfig
from schemas.refs import RunRef, StageInputs, StageOutput, StageResult
from schemas.tables import CORE_DOCUMENTS, CORE_LABELS
from tasks.labels.embedder import hash_text
from tasks.labels.task import index_labels, open_embedder
from tests.bench.index_sides import ADDED
from tests.bench.many_vectors import BLOCK
from tests.support.runs import tiny_run
from warehouse.index_store import load_manifest
from warehouse.parquet import write_table
from warehouse.published import save_output

EMBED = EmbedConfig()


def seed_cache(run: RunRef, texts: list[str], vectors: np.ndarray, token_count: int) -> None:
    """Store a vector for every text, so that no model is run."""
    store = open_embedder(run, EMBED, token_count).store
    for start in range(0, len(texts), BLOCK):
        store.append(
            [hash_text(text) for text in texts[start : start + BLOCK]], np.array(vectors[start : min(start + BLOCK, len(texts))])
        )


def tables_of(run: RunRef, labels: list[str], documents: list[str]) -> StageInputs:
    """The two tables the stage reads."""
    label_rows = {"dataset": "bench", "label_id": range(len(labels)), "label_uid": labels, "label_name": labels}
    document_rows = {"dataset": "bench", "document_id": documents, "split": "train", "source_line": 1, "document_text": documents}
    frames = (
        (CORE_LABELS, pl.DataFrame(label_rows).with_columns(description_text=pl.lit(""), text_hash=pl.col("label_uid"))),
        (CORE_DOCUMENTS, pl.DataFrame(document_rows).with_columns(title_text=pl.lit(""), text_hash=pl.col("document_id"))),
    )
    return StageInputs(
        tables={table.name: write_table(run, "ingest", table, table.conform(frame)) for table, frame in frames}, artifacts={}
    )


def timed_index(run: RunRef, inputs: StageInputs) -> tuple[StageResult, dict[str, Any]]:  # JSON: each key has its own type
    """The index stage, and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = index_labels.fn(run, inputs, IndexConfig(), EMBED)
    cost = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    manifest = load_manifest(Path(result.artifacts[0].path))
    told = ("label_count", "added_count", "removed_count", "recall_at_10", "recall_at_100", "recall_at_100_ci", "updated_from")
    return result, {**cost, **{name: getattr(manifest, name) for name in told}}


class Told(logging.Handler):
    """Keeps the last line the stage logged."""

    line = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("index: "):
            self.line = record.getMessage()


def main() -> None:
    root, vectors, queries, count = Path(sys.argv[1]), np.load(sys.argv[2], mmap_mode="r"), np.load(sys.argv[3]), int(sys.argv[4])
    told = Told()
    logging.getLogger("tasks.labels.task").addHandler(told)
    logging.getLogger("tasks.labels.task").setLevel(logging.INFO)
    first, second = (tiny_run(root, "bench", f"run-{n}") for n in (1, 2))
    labels, documents = [f"label {n}" for n in range(count + ADDED)], [f"document {n}" for n in range(len(queries))]
    seed_cache(first, labels, vectors, EMBED.label_tokens)
    seed_cache(first, documents, queries, EMBED.document_tokens)
    built, figures = timed_index(first, tables_of(first, labels[:count], documents))
    by_part = {"built": told.line}
    output = StageOutput(
        stage="index", dataset="bench", run_id=first.run_id, fingerprint="one", inputs=(), tables=built.tables,
        artifacts=built.artifacts, cost=built.cost, duration_s=0.0, published_at="2026-01-01",
    )  # fmt: skip
    save_output(first, output)
    _, grown = timed_index(second, tables_of(second, labels, documents))
    by_part["changed"] = told.line
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    size_mb = sum(file.stat().st_size for file in Path(built.artifacts[0].path).iterdir()) // 1_000_000
    result = {"built": figures, "changed": grown, "told": by_part, "peak_mb": peak_mb, "file_mb": size_mb}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
