"""The parse stage at the size of a real run; `-s` shows the figures, `tests/bench/results/parse.json` keeps them.

`CTD_BENCH_DATA` names the folder of data sets, `CTD_BENCH_TRACES` how many traces are parsed (100,000), a tenth of them first.
Every run is a process of its own, so that peaks of memory do not mix. The last run has the real vector rung, with no text
embedded before; in all others it finds nothing, and costs nothing. `CTD_BENCH_VECTORS` names a file of the label vectors, which
is made where it is missing: 7 minutes of one core.
"""

import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from schemas.config import EmbedConfig
from schemas.fields import ANSWER_FORMATS
from schemas.refs import TableRef
from schemas.tables import RAW_TRACES
from tasks.labels.embedder import label_text
from tasks.labels.encoder import Encoder, load_encoder
from tasks.labels.search import LabelIndex
from tasks.parsing.linking import FuzzyNames, MentionLinker, NearestLabels, Thresholds
from tasks.parsing.names import Catalogue
from tasks.parsing.rows import READ_COLUMNS, WRITTEN, Frames, linked_frames, read_part
from tasks.parsing.shared_words import SharedWords
from tasks.parsing.tables import BATCH_ROWS, RejectCount, parse_parts
from tasks.parsing.task import embed_beside
from tests.bench.parse_corpus import Corpus, read_descriptions, read_labels
from tests.support.runs import tiny_run
from warehouse.parquet import iter_table, read_table, write_table_parts, write_tables_parts

DATA = Path(os.environ.get("CTD_BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
TRACES = int(os.environ.get("CTD_BENCH_TRACES", "100000"))
RESULTS = Path(__file__).parent / "results" / "parse.json"
FORM_TRACES = 1000
TOP = 15

Figures = dict[str, Any]  # JSON: numbers, lists and objects


class Timed:
    """Seconds that an iterator takes to give, without what is done with it."""

    def __init__(self) -> None:
        self.wall_s = 0.0
        self.cpu_s = 0.0

    def of(self, parts: Iterator[Any]) -> Iterator[Any]:
        """The same items, timed."""
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            part = next(parts, None)
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu
            if part is None:
                return
            yield part


def open_linker(catalogue: Catalogue, fuzzy: FuzzyNames, nearest: NearestLabels | None = None) -> MentionLinker:
    """Every rung; without `nearest` the last has one label that nothing is near to."""
    index = LabelIndex(np.zeros(1, np.int32), np.ones((1, 1), np.float32))
    nowhere = NearestLabels(lambda texts: np.zeros((len(texts), 1), np.float32), index)
    return MentionLinker(catalogue, nearest or nowhere, Thresholds(0.8, 0.8, 0.15), fuzzy)


def open_encoder() -> Encoder:
    """The embedder as the pipeline loads it."""
    settings = EmbedConfig()
    return load_encoder(settings.model, settings.label_tokens, settings.batch_size, settings.precision)


def open_nearest(vectors: Path, process_count: int) -> NearestLabels:
    """The vector rung of the pipeline, over stored label vectors."""
    encoder, (_, names) = open_encoder(), read_labels(DATA / "debian-seealso")
    index = LabelIndex(np.arange(len(names), dtype=np.int32), np.load(vectors))
    shared = SharedWords([*names, *read_descriptions(DATA / "debian-seealso")])
    return NearestLabels(embed_beside(lambda texts: encoder.encode(list(texts)), process_count), index, shared.may_be_near)


def stored_vectors(folder: Path) -> Path:
    """The file of the label vectors, which is made where it is missing."""
    path = Path(os.environ.get("CTD_BENCH_VECTORS", folder / "labels.npy"))
    if not path.exists():
        (_, names), descriptions = read_labels(DATA / "debian-seealso"), read_descriptions(DATA / "debian-seealso")
        np.save(path, open_encoder().encode([label_text(*texts) for texts in zip(names, descriptions, strict=True)]))
    return path


def open_catalogue() -> Catalogue:
    """The labels of the see-also data."""
    uids, names = read_labels(DATA / "debian-seealso")
    return Catalogue(range(len(names)), uids, names)


def parse_file(root: Path, raw: TableRef, process_count: int, vectors: Path | None) -> Figures:
    """Parse one table of raw traces in this process and its children; what it took."""
    run, catalogue = tiny_run(root), open_catalogue()
    fuzzy, count, reading = FuzzyNames(catalogue), RejectCount(), Timed()
    nearest = open_nearest(vectors, process_count) if vectors else None
    began, cpu = time.perf_counter(), _cpu_s()
    parts: Iterator[Frames] = parse_parts(
        iter_table(raw, BATCH_ROWS, READ_COLUMNS), catalogue, lambda: open_linker(catalogue, fuzzy, nearest), count, process_count
    )
    refs = write_tables_parts(run, "parse", WRITTEN, reading.of(parts))
    wall_s, cpu_s = time.perf_counter() - began, _cpu_s() - cpu
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "traces": raw.row_count, "processes": process_count, "has_vectors": vectors is not None,
        "wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2),
        "traces_per_s": round(raw.row_count / wall_s), "traces_per_cpu_s": round(raw.row_count / cpu_s),
        "write_and_hash_s": round(wall_s - reading.wall_s, 2), "parent_peak_mb": round(peaks[0]),
        "largest_child_peak_mb": round(peaks[1]), "rows": {ref.table: ref.row_count for ref in refs},
    }  # fmt: skip


def _cpu_s() -> float:
    """Of this process and of its children that ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(root: Path, raw: TableRef, process_count: int, vectors: Path | None = None) -> Figures:
    """`parse_file` in a fresh process, whose children import no more than those of the command `ctd` do."""
    arguments = [str(root), raw.model_dump_json(), str(process_count), *([str(vectors)] if vectors else [])]
    command = [sys.executable, "-c", "from tests.bench.test_parse_bench import main; main()", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def profile_form(corpus: Corpus, catalogue: Catalogue, answer_format: str) -> Figures:
    """One form on one core: seconds by part without a profiler, then the functions that take most with one."""
    fuzzy = FuzzyNames(catalogue)
    raws = [raw.select(READ_COLUMNS) for raw in corpus.frames(FORM_TRACES, answer_format)]
    began = time.process_time()
    parts = [read_part(raw, catalogue) for raw in raws]
    read_s = time.process_time() - began
    for part in parts:
        texts = dict.fromkeys(text for one in part.unlinked for text in one.texts)
        linked_frames(part, open_linker(catalogue, fuzzy).link(texts))
    total_s = time.process_time() - began
    profile = cProfile.Profile()
    profile.runcall(lambda: [read_part(raw, catalogue) for raw in raws])
    found: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    own_s = sum(entry[2] for entry in found.values())
    top = sorted(found.items(), key=lambda item: -item[1][2])[:TOP]
    return {
        "traces": FORM_TRACES, "traces_per_cpu_s": round(FORM_TRACES / total_s), "read_s": round(read_s, 2),
        "link_s": round(total_s - read_s, 2), "with_unknown_texts": sum(len(part.unlinked) for part in parts),
        "top_own_frac": {f"{Path(where).name}:{name}": round(entry[2] / own_s, 3) for (where, _, name), entry in top},
    }  # fmt: skip


def assert_every_trace_once(raw: TableRef, rows: dict[str, int]) -> None:
    stage = Path(raw.path).parents[1] / "parse"
    traces = pl.read_parquet(stage / "core_traces.parquet", columns=["request_hash", "document_id"])
    keys = pl.concat(
        [
            traces.select(pl.concat_str("request_hash", "document_id", separator=":")).to_series(),
            pl.read_parquet(stage / "core_rejects.parquet", columns=["source_key"])["source_key"],
        ]
    )
    asked = read_table(raw, ["request_hash", "document_id"]).select(pl.concat_str("request_hash", "document_id", separator=":"))
    assert rows["core_traces"] + rows["core_rejects"] == raw.row_count
    assert keys.sort().equals(asked.to_series().sort(), check_names=False)


@pytest.mark.bench
def test_parsing_of_many_traces_by_one_and_two_processes(tmp_path: Path) -> None:
    catalogue = open_catalogue()
    corpus = Corpus(list(catalogue.names.values()))
    figures: Figures = {"labels": len(catalogue.names), "forms": {}, "runs": []}
    for answer_format in sorted(ANSWER_FORMATS):
        figures["forms"][answer_format] = profile_form(corpus, catalogue, answer_format)
    for count in (TRACES // 10, TRACES):
        raw = write_table_parts(tiny_run(tmp_path / str(count)), "trace", RAW_TRACES, corpus.frames(count))
        rows = []
        for process_count in (1, 2):
            figures["runs"].append(measure(tmp_path / str(count), raw, process_count))
            rows.append(figures["runs"][-1]["rows"])
            assert_every_trace_once(raw, rows[-1])
        assert rows[0] == rows[1]
    figures["runs"].append(measure(tmp_path / str(TRACES), raw, 2, stored_vectors(tmp_path)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


def main() -> None:
    """One run of `measure`."""
    vectors = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    figures = parse_file(Path(sys.argv[1]), TableRef.model_validate_json(sys.argv[2]), int(sys.argv[3]), vectors)
    sys.stdout.write(json.dumps(figures))
