"""The label index beside hnswlib, faiss and plain usearch, from 10^4 to 10^6 labels of 384 dimensions, in one run.

Every side builds and serves in a process of its own, with the same degree and all cores; compared is the cost of a query that
finds .97 of the exact top 100, between the measured expansions around it. `CTD_BENCH_LABELS` names the sizes (default
10000,100000,1000000: a quarter of an hour on 2 quiet cores, 6 GB of disk), `CTD_BENCH_SIDES` the sides, `CTD_BENCH_FOLDER` a
folder with `labels.npy` and `queries.npy` (unit float32 vectors of real labels and documents; without it the sample's are
embedded). hnswlib and faiss are installed for this test alone. Results: `tests/bench/results/label_index.json` and
`label_index.svg`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bench.index_chart import draw
from tests.bench.index_sides import ADDED, SIDES
from tests.bench.many_vectors import write_exact, write_vectors
from tests.bench.real_vectors import real_vectors

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
SIZES = [int(size) for size in os.environ.get("CTD_BENCH_LABELS", "10000,100000,1000000").split(",")]
ALTERNATIVES = ("hnswlib==0.8.0", "faiss-cpu==1.15.1")
CHOSEN = os.environ.get("CTD_BENCH_SIDES", ",".join(SIDES)).split(",")
QUERIES = 500
TARGET = 0.97


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors, queries and exact answers for every size, and the packages to compare with."""
    path = tmp_path_factory.mktemp("index")
    labels, queries = real_vectors(QUERIES)
    np.save(path / "queries.npy", queries)
    write_vectors(path / "vectors.npy", labels, max(SIZES) + ADDED)
    vectors = np.load(path / "vectors.npy", mmap_mode="r")
    np.save(path / "added.npy", vectors[max(SIZES) :])
    for size in SIZES:
        write_exact(path / f"exact-{size}.npy", vectors[:size], queries, 100)
    packages = str(path / "packages")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", packages, *ALTERNATIVES], check=True)
    return path


def run_side(what: str, side: str, folder: Path, size: int) -> dict[str, Any]:  # JSON: each key has its own type
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder / 'packages'}"}
    command = [sys.executable, "-m", "tests.bench.index_sides", what, side, str(folder), str(size)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(side: str, folder: Path, size: int) -> dict[str, Any]:
    figures = run_side("build", side, folder, size) | run_side("serve", side, folder, size)
    return figures | {"at_target": cost_at(figures["curve"], TARGET)}


def cost_at(curve: list[dict[str, float]], recall: float) -> dict[str, float] | None:
    """What a query costs at a recall@100, between the points around it; the first point if it lies above, null if none does."""
    above = next((place for place, point in enumerate(curve) if point["recall_at_100"] >= recall), None)
    if above is None:
        return None
    last = curve[above]
    first = curve[above - 1] if above else last
    span = last["recall_at_100"] - first["recall_at_100"]
    share = (recall - first["recall_at_100"]) / span if span else 1.0
    return {name: round(first[name] + share * (last[name] - first[name]), 4) for name in ("cpu_ms", "wall_ms", "recall_at_10")}


@pytest.mark.bench
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_label_index_beside_the_alternatives(folder: Path) -> None:
    found = {size: {side: measure(side, folder, size) for side in CHOSEN} for size in SIZES}
    grown = run_side("grow", "ours", folder, max(SIZES))
    result = {"target_recall_at_100": TARGET, "queries": QUERIES, "sizes": found, "adding_1000": grown}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "label_index.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "label_index.svg").write_text(draw(result))
    assert all(found[size]["ours"]["at_target"] for size in SIZES)
    assert grown["added_find_themselves"] > 0.9


@pytest.mark.bench
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_index_stage_builds_and_changes(folder: Path, tmp_path: Path) -> None:
    arguments = [str(tmp_path / "root"), str(folder / "vectors.npy"), str(folder / "queries.npy"), str(max(SIZES))]
    command = [sys.executable, "-m", "tests.bench.million_labels", *arguments]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    (RESULTS / "label_index_stage.json").write_text(json.dumps(figures, indent=1) + "\n")
    assert (figures["changed"]["added_count"], figures["changed"]["updated_from"]) == (ADDED, "run-1")
