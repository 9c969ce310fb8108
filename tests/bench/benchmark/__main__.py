"""Run the benchmark: a process a dataset, two at a time with a thread each; then the tables."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from schemas.errors import PipelineError
from tests.bench.benchmark.plan import DATASETS, PARTS, ROOT, Dataset, Part, parts_of
from tests.bench.benchmark.slices import DATA_VARIABLE, find_source
from tests.bench.benchmark.tables import Prices, write_results
from tests.bench.benchmark.working import say, work

AT_ONCE = 2
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
RESULTS = ROOT / "tests" / "bench" / "results"


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.benchmark", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data/benchmark"), help="data roots, one a dataset, stand below")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated; all without it")
    parser.add_argument("--dataset", action="append", choices=[d.name for d in DATASETS], help="may be repeated; all without it")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of benchmark.json and benchmark.md")
    parser.add_argument("--price-in", type=float, help="USD a million tokens into the teacher; no default")
    parser.add_argument("--price-out", type=float, help="USD a million tokens out of it; no default")
    parser.add_argument("--price-core-hour", type=float, help="USD an hour of one core; no default")
    parser.add_argument("--tables", action="store_true", help="only draw the tables of what was measured")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """0 if every dataset that is there was done."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it ends the processes it started
    given = read_arguments()
    root, results = given.root.expanduser().resolve(), given.results.expanduser().resolve()
    parts = tuple(part for part in PARTS if part in (given.only or PARTS))
    if given.worker:
        dataset = next(d for d in DATASETS if d.name == given.worker)
        try:
            work(dataset, parts, root / dataset.name, results)
        except PipelineError as exc:
            say(f"{dataset.name}: {type(exc).__name__}: {exc}")
            return 1
        return 0
    chosen = [d for d in DATASETS if d.name in (given.dataset or [d.name for d in DATASETS])]
    present = [d for d in chosen if find_source(d.name)]
    for absent in (d.name for d in chosen if d not in present):
        say(f"{absent} is left out: it is not there; {DATA_VARIABLE} names the folder that holds it")
    is_done = given.tables or run_all(present, parts, root, results)
    write_results(root, results, Prices(given.price_in, given.price_out, given.price_core_hour))
    say(f"tables: {results / 'benchmark.md'}")
    return 0 if is_done else 1


def run_all(datasets: list[Dataset], parts: tuple[Part, ...], root: Path, results: Path) -> bool:
    """Work on all datasets, two at a time; whether all went well. The log of each stands below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    waiting, failed = [d for d in datasets if parts_of(d, datasets, parts)], []
    running: list[tuple[Dataset, subprocess.Popen[bytes]]] = []
    try:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                dataset = waiting.pop(0)
                running.append((dataset, start(dataset, parts_of(dataset, datasets, parts), root, results)))
            time.sleep(0.5)
            ended = [(dataset, process) for dataset, process in running if process.poll() is not None]
            failed += [dataset.name for dataset, process in ended if process.returncode]
            running = [pair for pair in running if pair not in ended]
    except KeyboardInterrupt:
        for _, process in running:
            process.terminate()
        for _, process in running:
            process.wait()
        raise
    for name in failed:
        say(f"{name} did not end well: see {root / name}.log; the same command goes on from there")
    return not failed


def start(dataset: Dataset, parts: tuple[Part, ...], root: Path, results: Path) -> "subprocess.Popen[bytes]":
    """A process that does the steps of one dataset."""
    only = [word for part in parts for word in ("--only", part)]
    given = ["--worker", dataset.name, "--root", str(root), "--results", str(results), *only]
    command = [sys.executable, "-m", "tests.bench.benchmark", *given]
    with (root / f"{dataset.name}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | ONE_THREAD, stderr=log)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from there")
        sys.exit(130)
