"""A label tree of napkinXC, trained on the known targets of train with TF-IDF features: what supervised extreme classification
reaches on the benchmark's slices, by our metrics, segments and intervals.

napkinXC is no dependency of ours: the test makes an environment for it in `CTD_REFERENCE_ENV` (default: a temporary folder, made
anew each time) and installs it there. `-s` shows the figures, `tests/bench/results/supervised_reference.json` keeps them.
`CTD_BENCH_DATA` is the folder of the datasets; the shipped sample is always there.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix, save_npz
from sklearn.feature_extraction.text import TfidfVectorizer

from schemas.config import EvaluateConfig, IngestConfig
from tasks.datasets.task import ingest_dataset
from tasks.evaluation.leaderboard import describe_targets, score_systems, split_targets
from tasks.evaluation.metrics import find_hits
from tasks.evaluation.systems import fetch_count, filtered_pairs, rank_candidates
from tests.bench.benchmark.plan import DATASETS, Dataset
from tests.bench.benchmark.slices import find_source, take_slice
from tests.support.runs import tiny_run
from warehouse.parquet import read_table

pytestmark = pytest.mark.bench

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "supervised_reference.json"
PINNED = ("napkinxc==0.7.2", "numpy>=2,<3", "scipy>=1.15,<2")
SYSTEM = "napkinxc-gold"
SEEDS = (0, 1, 2, 3, 4)
SHOWN = (("P", 1), ("P", 5), ("R", 10), ("R", 100), ("PSP", 5))
CONFIG = EvaluateConfig(baseline=SYSTEM)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of the environment that has napkinXC."""
    given = os.environ.get("CTD_REFERENCE_ENV")
    folder = Path(given) if given else tmp_path_factory.mktemp("reference") / "env"
    found = folder / "bin" / "python"
    if not found.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([found, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINNED], check=True)
    return found


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda d: d.name)
def test_supervised_reference(dataset: Dataset, python: Path, tmp_path: Path) -> None:
    if find_source(dataset.name) is None:
        pytest.skip(f"{dataset.name} is not there (CTD_BENCH_DATA)")
    run = tiny_run(tmp_path, dataset.name)
    tables = {
        ref.table: read_table(ref) for ref in ingest_dataset.fn(run, IngestConfig(path=str(take_slice(dataset, tmp_path)))).tables
    }
    documents, relevance, labels = (tables[name] for name in ("core_documents", "core_relevance", "core_labels"))
    test = documents.filter(pl.col("split") == "test")
    filtered = filtered_pairs(relevance, test)
    label_ids = write_features(tmp_path, documents, relevance)
    top = min(fetch_count(filtered, CONFIG.prediction_count), len(label_ids))
    found, seconds = zip(*(train_and_predict(python, tmp_path, seed, top) for seed in SEEDS), strict=True)
    candidates = pl.concat(
        as_candidates(lists, seed, test["document_id"], label_ids) for seed, lists in zip(SEEDS, found, strict=True)
    )
    targets = describe_targets(labels, relevance, len(documents) - len(test), CONFIG)
    ranked = rank_candidates(candidates, filtered, CONFIG.prediction_count)
    metrics, _ = score_systems(find_hits(ranked, targets), targets, {SYSTEM: SEEDS}, CONFIG)
    keep(dataset.name, metrics, list(seconds), len(label_ids))
    first = metrics.filter((pl.col("metric") == "R") & (pl.col("k") == 100) & (pl.col("segment") == "all"))
    assert first["value"][0] > 0.3  # a tree that learned nothing finds a hundredth of that


def write_features(folder: Path, documents: pl.DataFrame, relevance: pl.DataFrame) -> NDArray[np.int32]:
    """TF-IDF of both splits and the targets of train, for the other environment; the label of each column of targets."""
    known = split_targets(relevance, "train")
    train = documents.filter(pl.col("split") == "train").join(known, on="document_id", how="semi").with_row_index("row")
    test = documents.filter(pl.col("split") == "test")
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2, dtype=np.float32)
    save_npz(folder / "train.npz", csr_matrix(vectorizer.fit_transform(train["document_text"].to_list())))
    save_npz(folder / "test.npz", csr_matrix(vectorizer.transform(test["document_text"].to_list())))
    label_ids = known["label_id"].unique().sort().to_numpy()
    pairs = known.join(train.select("document_id", "row"), on="document_id")
    columns = np.searchsorted(label_ids, pairs["label_id"].to_numpy())
    cells = (np.ones(len(pairs), np.float32), (pairs["row"].to_numpy(), columns))
    save_npz(folder / "targets.npz", csr_matrix(csr_array(cells, shape=(len(train), len(label_ids)))))
    return np.asarray(label_ids, np.int32)


def train_and_predict(python: Path, folder: Path, seed: int, top: int) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    command = [str(python), str(HERE / "napkin_labels.py"), str(folder), str(seed), str(top)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    with np.load(folder / "found.npz") as found:
        lists = dict(found)
    return lists, json.loads((folder / "seconds.json").read_text())


def as_candidates(
    lists: dict[str, NDArray[np.float64]], seed: int, document_ids: pl.Series, label_ids: NDArray[np.int32]
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "document_id": document_ids.gather(lists["documents"].astype(np.int64)),
            "label_id": label_ids[lists["labels"].astype(np.int64)],
            "score": lists["scores"].astype(np.float64),
        }
    ).select(pl.lit(SYSTEM).alias("system"), pl.lit(seed, pl.Int32).alias("seed"), "document_id", "label_id", "score")


def keep(dataset: str, metrics: pl.DataFrame, seconds: list[dict[str, float]], label_count: int) -> None:
    """Show the figures and put them into the results file."""
    shown = metrics.filter(pl.struct("metric", "k").is_in([{"metric": m, "k": k} for m, k in SHOWN]))
    columns = ("system", "metric", "k", "segment", "value", "ci_low", "ci_high", "document_count", "seed_count", "seed_sd")
    figures = {"packages": PINNED, "trained_labels": label_count, "seconds": seconds, "metrics": shown.select(columns).to_dicts()}
    for row in shown.filter(pl.col("segment") == "all").to_dicts():
        sys.stdout.write(f"\n{dataset} {row['metric']}@{row['k']} {row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]")
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(known | {dataset: figures}, indent=1) + "\n")
