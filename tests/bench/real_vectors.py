"""Vectors of real labels and documents for benchmarks: from a folder, or of the shipped sample."""

import os
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.config import EmbedConfig, IngestConfig
from schemas.refs import StageInputs
from tasks.datasets.task import ingest_dataset
from tasks.labels.task import open_embedder, read_labels
from tests.support.runs import tiny_run
from warehouse.parquet import read_table

Vectors = NDArray[np.float32]


def real_vectors(query_count: int) -> tuple[Vectors, Vectors]:
    """Unit vectors of labels and of documents, from `CTD_BENCH_FOLDER`, else of the sample, embedded in `CTD_BENCH_CACHE`."""
    folder = os.environ.get("CTD_BENCH_FOLDER")
    if folder:
        return np.load(Path(folder) / "labels.npy"), np.load(Path(folder) / "queries.npy")[:query_count]
    run = tiny_run(Path(os.environ.get("CTD_BENCH_CACHE", "data")))
    sample = IngestConfig(path=str(files("samples") / "debian_seealso_small"))
    tables = {ref.table: ref for ref in ingest_dataset.fn(run, sample).tables}
    embed = EmbedConfig()
    labels = read_labels(StageInputs(tables=tables, artifacts={})).texts
    documents = read_table(tables["core_documents"], ["document_text"])["document_text"].to_list()[:query_count]
    return (
        open_embedder(run, embed, embed.label_tokens).embed(labels),
        open_embedder(run, embed, embed.document_tokens).embed(documents),
    )
