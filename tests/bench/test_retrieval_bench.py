"""What retrieval without training finds: by vector, by wording, by both; and long documents cut or in windows.

`-s` shows the figures, `results/retrieval.json` keeps them. `CTD_BENCH_DATA` is the folder of the two datasets (default
`shared/data` beside the checkout), `CTD_BENCH_CACHE` a data root that keeps vectors from one run to the next: without it the
63,436 labels are embedded anew, which takes five minutes of CPU.
"""

import json
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer

from schemas.config import EmbedConfig, IngestConfig
from schemas.refs import RunRef, StageInputs
from tasks.datasets.task import ingest_dataset
from tasks.evaluation.leaderboard import split_targets
from tasks.evaluation.metrics import document_values, find_hits
from tasks.intervals.contrasts import contrast_rows
from tasks.intervals.resampling import Resamples, metric_rows, resample_documents
from tasks.labels.encoder import model_location
from tasks.labels.fusion import fuse_rankings
from tasks.labels.lexical import Bm25Index, LexicalIndex
from tasks.labels.retrieval import FUSED_DEPTH, leave_out
from tasks.labels.search import NO_LABEL, QUERY_BLOCK, LabelIndex, Ranking, Vectors
from tasks.labels.task import open_embedder, read_labels
from tasks.traces.questions import left_out_labels
from tests.bench.windows import best_of_windows, cut_windows, pool_windows
from tests.support.runs import tiny_run
from warehouse.parquet import read_table

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("CTD_BENCH_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "retrieval.json"

KS = (10, 50, 100)
RESAMPLES = 1000
SINGLES = ("dense", "TF-IDF", "BM25")
FUSED = (("dense", "BM25"), ("dense", "TF-IDF"))
LONG_TOKENS = 256

README = {
    "debian-seealso": {"words": {10: 17.0, 100: 34.3}},
    "debian-tags": {"words": {10: 32.7, 100: 51.8}, "words, label title and content": {10: 39.9, 100: 66.4}},
}
"""R@k of TF-IDF as the data's own README has it, percent."""

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """Test documents of a dataset, its labels, and what each document must not be given."""

    label_ids: np.ndarray
    label_texts: list[str]
    document_ids: list[str]
    texts: list[str]
    targets: pl.DataFrame
    barred: list[frozenset[int]]

    @property
    def depth(self) -> int:
        """Length of the lists from which barred labels are taken out."""
        return FUSED_DEPTH + max(map(len, self.barred))


def read_task(folder: Path, name: str) -> Task:
    run = tiny_run(folder, run_id=name)
    tables = {ref.table: ref for ref in ingest_dataset.fn(run, IngestConfig(path=str(DATA / name))).tables}
    labels = read_labels(StageInputs(tables=tables, artifacts={}))
    relevance = read_table(tables["core_relevance"])
    documents = read_table(tables["core_documents"]).filter(pl.col("split") == "test")
    left_out = left_out_labels(relevance)
    ids = documents["document_id"].to_list()
    return Task(
        labels.label_ids,
        labels.texts,
        ids,
        documents["document_text"].to_list(),
        split_targets(relevance, "test").with_columns(inverse_propensity=pl.lit(1.0)),
        [left_out.get(document, frozenset()) for document in ids],
    )


def held(build: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What `build` gives, the MB it holds, and the most that were held meanwhile."""
    tracemalloc.start()
    made = build()
    now, peak = (round(size / 1e6, 1) for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    return made, {"held_mb": now, "peak_mb": peak}


def timed(search: Callable[[Sequence[str]], Ranking], texts: Sequence[str]) -> tuple[Ranking, float]:
    """The rankings, and CPU milliseconds a text."""
    began = time.process_time()
    found = search(texts)
    return found, 1000 * (time.process_time() - began) / len(texts)


def search_peak(search: Callable[[Sequence[str]], Ranking], task: Task) -> float:
    """MB that a search of one block of documents holds at most, beside the index."""
    return held(lambda: search(task.texts[:QUERY_BLOCK]))[1]["peak_mb"]


def prediction_rows(task: Task, name: str, ranking: Ranking) -> pl.DataFrame:
    width = ranking.label_ids.shape[1]
    ids = pl.Series(ranking.label_ids.ravel(), dtype=pl.Int32)
    ranks = np.tile(np.arange(1, width + 1, dtype=np.int32), len(task.texts))
    rows = pl.DataFrame({"document_id": np.repeat(task.document_ids, width), "label_id": ids, "rank": ranks})
    return rows.filter(pl.col("label_id") != NO_LABEL).with_columns(system=pl.lit(name), seed=pl.lit(0, pl.Int32))


def score(task: Task, rankings: dict[str, Ranking]) -> Resamples:
    """R@k of all systems on the same resampled documents."""
    cut = {name: leave_out(ranking, task.barred, max(KS)) for name, ranking in rankings.items()}
    hits = find_hits(pl.concat(prediction_rows(task, name, ranking) for name, ranking in cut.items()), task.targets)
    values = document_values(hits, task.targets, dict.fromkeys(rankings, (0,)), KS)
    return resample_documents(values, RESAMPLES, np.random.default_rng(0))


def recalls(resamples: Resamples) -> dict[str, dict[int, list[float]]]:
    """R@k in percent with its interval, by system and k."""
    rows = metric_rows(resamples, "all", np.random.default_rng(0)).filter(pl.col("metric") == "R")
    found: dict[str, dict[int, list[float]]] = {}
    for system, k, *numbers in rows.select("system", "k", "value", "ci_low", "ci_high").iter_rows():
        found.setdefault(system, {})[k] = [round(100 * number, 2) for number in numbers]
    return found


def differences(resamples: Resamples, system: str, baseline: str) -> dict[int, list[float]]:
    """Paired differences of R@k in points, with interval and p."""
    rows = contrast_rows(resamples, [(system, baseline)], "all", np.random.default_rng(0)).filter(pl.col("metric") == "R")
    columns = rows.select("k", "difference", "ci_low", "ci_high", "p_value").iter_rows()
    return {k: [*(round(100 * number, 2) for number in numbers[:3]), round(numbers[3], 4)] for k, *numbers in columns}


def fuse(task: Task, rankings: dict[str, Ranking], parts: tuple[str, str]) -> Ranking:
    return fuse_rankings([leave_out(rankings[part], task.barred, FUSED_DEPTH) for part in parts], FUSED_DEPTH)


def say(name: str, found: dict[int, list[float]]) -> None:
    shown = "  ".join(f"R@{k} {value:5.1f} [{low:.1f}, {high:.1f}]" for k, (value, low, high, *_) in found.items())
    sys.stdout.write(f"  {name:34} {shown}\n")


def keep(part: str, found: dict[str, object]) -> None:
    """Put a part into the results file."""
    RESULTS.parent.mkdir(exist_ok=True)
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(before | {part: found}, indent=1) + "\n")


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> RunRef:
    """A run whose data root holds the vectors."""
    place = os.environ.get("CTD_BENCH_CACHE")
    return tiny_run(Path(place) if place else tmp_path_factory.mktemp("cache"))


def embed(run: RunRef, texts: list[str], token_count: int) -> Vectors:
    return open_embedder(run, EmbedConfig(), token_count).embed(texts)


@pytest.mark.bench
@pytest.mark.skipif(not DATA.exists(), reason=f"needs the datasets in {DATA} (CTD_BENCH_DATA)")
@pytest.mark.parametrize("name", ["debian-seealso", "debian-tags"])
def test_fused_retrieval_finds_more_in_the_first_ten_than_any_part(name: str, embedding: RunRef, tmp_path: Path) -> None:
    task = read_task(tmp_path, name)
    queries = embed(embedding, task.texts, EmbedConfig().document_tokens)
    vectors = embed(embedding, task.label_texts, EmbedConfig().label_tokens)
    by_vector = LabelIndex(task.label_ids, vectors)
    tfidf, tfidf_held = held(lambda: LexicalIndex(task.label_ids, task.label_texts))
    bm25, bm25_held = held(lambda: Bm25Index(task.label_ids, task.label_texts))
    searches: dict[str, Callable[[Sequence[str]], Ranking]] = {
        "dense": lambda texts: by_vector.search(queries[: len(texts)], task.depth),
        "TF-IDF": lambda texts: tfidf.search(texts, task.depth),
        "BM25": lambda texts: bm25.search(texts, task.depth),
    }
    measured = {part: timed(search, task.texts) for part, search in searches.items()}
    rankings = {part: ranking for part, (ranking, _) in measured.items()}
    rankings |= {" + ".join(parts): fuse(task, rankings, parts) for parts in FUSED}
    resamples = score(task, rankings)
    found = recalls(resamples)
    best = {k: max(SINGLES, key=lambda part: found[part][k][0]) for k in KS}
    gains = {
        f"{' + '.join(parts)} - {part}": differences(resamples, " + ".join(parts), part) for parts in FUSED for part in SINGLES
    }
    sys.stdout.write(f"\n{name}: {len(task.texts):,} documents, {len(task.label_ids):,} labels; data README {README[name]}\n")
    for system, values in (found | gains).items():
        say(system, values)
    memory = {"dense": {"held_mb": round(vectors.nbytes / 1e6, 1)}, "TF-IDF": tfidf_held, "BM25": bm25_held}
    cost = {
        part: {"cpu_ms_a_document": round(measured[part][1], 3), **memory[part], "search_peak_mb": search_peak(search, task)}
        for part, search in searches.items()
    }
    sys.stdout.write(f"  best single {best}; {cost}\n")
    keep(
        name,
        {
            "documents": len(task.texts),
            "labels": len(task.label_ids),
            "recall": found,
            "paired": gains,
            "cost": cost,
            "readme": README[name],
        },
    )
    assert gains[f"dense + TF-IDF - {best[10]}"][10][1] > 0


@pytest.mark.bench
@pytest.mark.skipif(not DATA.exists(), reason=f"needs the datasets in {DATA} (CTD_BENCH_DATA)")
def test_windows_of_long_documents_gain_less_than_a_point_over_a_longer_cut(embedding: RunRef, tmp_path: Path) -> None:
    task = read_task(tmp_path, "debian-seealso")
    index = LabelIndex(task.label_ids, embed(embedding, task.label_texts, EmbedConfig().label_tokens))
    window = EmbedConfig().document_tokens
    tokenizer = Tokenizer.from_file(str(model_location(EmbedConfig().model) / "tokenizer.json"))
    windows, owners = cut_windows(task.texts, tokenizer, window - 2)
    vectors = embed(embedding, windows, window)
    widest = index.search(vectors, task.depth)
    rankings = {
        f"cut at {window}": index.search(embed(embedding, task.texts, window), task.depth),
        f"cut at {LONG_TOKENS}": index.search(embed(embedding, task.texts, LONG_TOKENS), task.depth),
        "mean of windows": index.search(pool_windows(vectors, owners, len(task.texts)), task.depth),
        "best of windows": best_of_windows(widest, owners, len(task.texts), task.depth),
    }
    resamples = score(task, rankings)
    found = recalls(resamples)
    gains = {
        f"{way} - cut at {LONG_TOKENS}": differences(resamples, way, f"cut at {LONG_TOKENS}")
        for way in rankings
        if way != f"cut at {LONG_TOKENS}"
    }
    long = float((np.bincount(owners) > 1).mean())
    sys.stdout.write(
        f"\ndebian-seealso, {len(windows):,} windows of {window} tokens; {100 * long:.0f}% of documents have several\n"
    )
    for system, values in (found | gains).items():
        say(system, values)
    keep("windows", {"windows": len(windows), "several_frac": round(long, 3), "recall": found, "paired": gains})
    for way in ("mean of windows", "best of windows"):
        assert max(gain[0] for gain in gains[f"{way} - cut at {LONG_TOKENS}"].values()) < 1
