"""CPU of tagging beside that of its embedder alone, on the same documents in one run, at 63,436 labels; memory of a long file.

Texts of labels and documents are real, as wording costs what words cost, and so are the labels that are remembered of train
documents: known targets for answers, those of two other documents for the rest of a shortlist. Vectors are drawn.
`-s` shows the figures, `results/tag.json` keeps them. `CTD_BENCH_DATA` is the folder of the datasets.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from schemas.config import EmbedConfig, IngestConfig
from schemas.refs import StageInputs
from tasks.datasets.task import ingest_dataset
from tasks.labels.embedder import CachedEmbedder, VectorStore
from tasks.labels.lexical import LexicalIndex
from tasks.labels.search import Vectors
from tasks.labels.task import open_embedder, read_labels
from tasks.students.calibration import Calibration
from tasks.students.candidates import Student, Texts
from tasks.students.features import FEATURES, Lessons, count_words, find_wording, remember
from tasks.students.matrices import Matrix, empty_matrix, sparse, without_cells
from tasks.students.networks import EVIDENCE_WEIGHTS, Refiner, Shortlister
from tasks.students.prediction import predict_labels
from tasks.students.supervision import Pairs, gold_supervision
from tasks.students.tagging.documents import Columns, Document
from tasks.students.tagging.rows import LabelNames
from tasks.students.tagging.tagger import Tagger
from tasks.students.tagging.task import Source
from tasks.students.tagging.vectors import PassingStore
from tests.support.runs import tiny_run
from warehouse.parquet import read_table

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CTD_BENCH_DATA", ROOT.parent / "shared" / "data")) / "debian-seealso"
RESULTS = Path(__file__).parent / "results" / "tag.json"

PART, PART_COUNT = 250, 8
SHORTLIST, TOP = 50, 10
LONG_ROWS = (100_000, 1_000_000)
MOST_OVER = 1.15
"""The aim is 1.10; a loaded machine moves the ratio by a few hundredths."""

SURVEYED = """
import re, sys
from pathlib import Path
from tasks.students.tagging.documents import Columns, Survey
from tasks.students.tagging.task import Source
survey = Survey()
for row in Source(Path(sys.argv[1]), "csv", Columns(("text",), sys.argv[2] or None)).rows():
    survey.add(row)
status = Path("/proc/self/status").read_text()  # getrusage would give the peak of the parent, which was forked
print(survey.document_count, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024)
"""


class Nothing:
    """A store that knows no vector."""

    identity = "bench"

    def missing(self, hashes: list[str]) -> list[str]:
        return list(dict.fromkeys(hashes))


def unit(random: np.random.Generator, count: int) -> Vectors:
    vectors = random.standard_normal((count, 384), np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def make_tagger(label_ids: NDArray[np.int32], texts: list[str], train: list[str], answers: Matrix) -> Tagger:
    """A student with a memory as large as the dataset's train split; untrained weights cost what trained ones do."""
    random, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    others = (sparse(answers[np.roll(np.arange(len(train)), shift)]) for shift in (1, 2))
    listed = without_cells(sparse(sum(others, empty_matrix(answers.shape))), answers)
    counts = count_words(train)
    lessons = Lessons(sparse(answers.maximum(listed)), answers, listed, np.ones(counts.shape[1], np.float32))
    memory, _ = remember(unit(random, len(train)), counts, lessons)
    student = Student(Shortlister(384, EVIDENCE_WEIGHTS, 0.05, generator), Refiner(len(FEATURES), generator), memory)
    calibration = Calibration(
        form="sigmoid", numbers=(1.2, 1.0), fit_document_count=1, held_document_count=1, log_loss_nats=0, error=0,
        error_ci=(0, 0), error_if_perfect=0,
    )  # fmt: skip
    return Tagger(
        student=student, shortlist_size=SHORTLIST, calibration=calibration, label_ids=label_ids,
        label_vectors=unit(random, len(texts)), lexical=LexicalIndex(label_ids, texts),
        names=LabelNames(label_ids, [str(i) for i in label_ids], texts).frame(), top=TOP, floor=0.0,
    )  # fmt: skip


def embedder(store: object) -> CachedEmbedder:
    embed = EmbedConfig()
    kept: VectorStore = PassingStore(store)  # type: ignore[arg-type]  # never written to
    return CachedEmbedder(embed.model, embed.document_tokens, embed.batch_size, kept)


def cpu(began: float, count: int) -> float:
    """Milliseconds a document since `began`."""
    return 1000 * (time.process_time() - began) / count


def parts_of(source: Source) -> Iterator[list[Document]]:
    documents = source.documents()
    while part := list(islice(documents, PART)):
        yield part


def slow_ms(tagger: Tagger, texts: list[str], vectors: Vectors) -> float:
    """Milliseconds a document of the path that the evaluation takes, without the embedder."""
    began = time.process_time()
    seen = Texts(
        vectors, count_words(texts), find_wording(tagger.lexical, tagger.label_ids, texts),
        empty_matrix((len(texts), len(tagger.label_ids))),
    )  # fmt: skip
    predict_labels(tagger.student, seen, tagger.label_ids, tagger.label_vectors, SHORTLIST, SHORTLIST)
    return cpu(began, len(texts))


@pytest.mark.bench
@pytest.mark.skipif(not DATA.exists(), reason=f"needs the dataset in {DATA} (CTD_BENCH_DATA)")
def test_tagging_costs_little_more_than_its_embedder(tmp_path: Path) -> None:
    run = tiny_run(tmp_path)
    tables = {ref.table: ref for ref in ingest_dataset.fn(run, IngestConfig(path=str(DATA))).tables}
    labels = read_labels(StageInputs(tables=tables, artifacts={}))
    documents = read_table(tables["core_documents"], ["document_id", "split", "document_text"])
    test = documents.filter(pl.col("split") == "test").head(PART * PART_COUNT)
    test.write_ndjson(tmp_path / "in.jsonl")
    assert open_embedder(run, EmbedConfig(), 96).token_count == 96
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.process_time()
    train = documents.filter(pl.col("split") == "train")
    pairs = Pairs(tuple(train["document_id"]), labels.label_ids)
    gold = gold_supervision(pairs, empty_matrix(pairs.shape), read_table(tables["core_relevance"]))
    tagger = make_tagger(labels.label_ids, labels.texts, train["document_text"].to_list(), gold.answers)
    warm = test["document_text"].to_list()[:16]
    tagger.tag([str(i) for i in range(16)], warm, unit(np.random.default_rng(1), 16))
    start_s = time.process_time() - began
    alone, whole = embedder(Nothing()), embedder(Nothing())
    alone.embed(["warm"]), whole.embed(["warm"])
    sides: dict[str, list[float]] = {"embedder": [], "tag": []}
    source = Source(tmp_path / "in.jsonl", "jsonl", Columns(("document_text",), "document_id"))
    began = time.process_time()
    for part in parts_of(source):
        texts = [document.text for document in part]
        read = cpu(began, len(part))
        began = time.process_time()
        alone.embed(texts)
        sides["embedder"].append(cpu(began, len(part)))
        began = time.process_time()
        vectors = whole.embed(texts)
        tagger.tag([document.document_id for document in part], texts, vectors).write_parquet(tmp_path / "part.parquet")
        sides["tag"].append(cpu(began, len(part)) + read)
        began = time.process_time()
    slow = slow_ms(tagger, texts, vectors)
    torch.set_num_threads(threads)
    figures = speed_figures(sides, slow, start_s, len(labels.texts))
    keep("speed", figures)
    assert figures["ratio"] < MOST_OVER


def speed_figures(sides: dict[str, list[float]], slow: float, start_s: float, label_count: int) -> dict[str, Any]:
    embed, tag = np.array(sides["embedder"]), np.array(sides["tag"])
    draws = np.random.default_rng(0).integers(0, len(tag), (1000, len(tag)))
    low, high = np.quantile(tag[draws].sum(axis=1) / embed[draws].sum(axis=1), (0.025, 0.975))
    ratio = float(tag.sum() / embed.sum())
    return {
        "labels": label_count,
        "documents": PART * len(tag),
        "embedder_cpu_ms_a_document": round(float(embed.mean()), 2),
        "tag_cpu_ms_a_document": round(float(tag.mean()), 2),
        "ratio": round(ratio, 3),
        "ratio_ci": [round(float(low), 3), round(float(high), 3)],
        "student_cpu_ms_a_document": round(float((tag - embed).mean()), 2),
        "evaluation_path_cpu_ms_a_document": round(slow, 2),
        "start_cpu_s": round(start_s, 1),
    }


@pytest.mark.bench
def test_a_long_file_is_read_in_memory_that_hardly_grows(tmp_path: Path) -> None:
    found: dict[str, float] = {}
    for count in LONG_ROWS:
        path = tmp_path / f"{count}.csv"
        frame = pl.DataFrame({"id": np.arange(count)}).with_columns(
            text=pl.lit("a text of some words " * 10) + pl.col("id").cast(str)
        )
        frame.write_csv(path)
        for column in ("id", ""):
            done = subprocess.run(
                [sys.executable, "-c", SURVEYED, str(path), column], capture_output=True, text=True, check=True, cwd=ROOT
            )
            seen, megabytes = done.stdout.split()
            assert int(seen) == count
            found[f"{count:,} rows, {'ids' if column else 'line numbers'}"] = round(float(megabytes), 1)
        found[f"{count:,} rows, file"] = round(path.stat().st_size / 1e6, 1)
    keep("memory_mb", found)
    assert found["1,000,000 rows, line numbers"] < found["100,000 rows, line numbers"] + 10
    assert found["1,000,000 rows, ids"] < found["100,000 rows, ids"] + 150


def keep(name: str, figures: dict[str, Any]) -> None:
    sys.stdout.write(f"\n{name}: {figures}\n")
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(stored | {name: figures}, indent=1) + "\n")
