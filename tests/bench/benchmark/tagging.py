"""How fast an encoder student tags: CPU seconds of tagging new texts, the start of the tagger taken off."""

import json
from pathlib import Path

import polars as pl

from flows.tag import tag
from tests.bench.benchmark.costs import cpu_now
from tests.bench.benchmark.plan import SETTINGS, TAGGING_FIGURES
from warehouse.atomic import write_bytes
from warehouse.duck import query_warehouse

SYSTEM = "mechanistic"
WARM_COUNT = 32


def measure_tagging(dataset: str, root: Path) -> tuple[str, bool]:
    """Write `tagging.json` below the root, unless it is of the student that is published now; the run of that student."""
    run_id = query_warehouse(root, f"select run_id from published where dataset = '{dataset}' and stage = 'distill'")["run_id"][0]
    path = root / TAGGING_FIGURES
    if path.exists() and json.loads(path.read_text())["run_id"] == run_id:
        return run_id, True
    texts = query_warehouse(
        root, f"select document_id, document_text from core_documents where dataset = '{dataset}' and split = 'test'"
    )
    fresh = texts.with_columns(pl.col("document_text") + "\nbenchmark")  # unlike any text whose vector is remembered
    start_s = tag_cpu_s(dataset, root, fresh.head(WARM_COUNT), "start")
    whole_s = tag_cpu_s(dataset, root, fresh.slice(WARM_COUNT), "whole")
    count = len(fresh) - 2 * WARM_COUNT
    figures = {
        "run_id": run_id,
        "system": SYSTEM,
        "document_count": count,
        "cpu_ms_a_document": 1000 * (whole_s - start_s) / count,
        "documents_a_cpu_s": count / (whole_s - start_s),
        "start_cpu_s": start_s,
    }
    write_bytes(path, json.dumps(figures, indent=1).encode())
    return run_id, False


def tag_cpu_s(dataset: str, root: Path, texts: pl.DataFrame, name: str) -> float:
    """CPU seconds of tagging these texts into a file that is not there yet."""
    source, target = root / "tagging" / f"{name}.jsonl", root / "tagging" / f"{name}.parquet"
    source.parent.mkdir(exist_ok=True)
    texts.write_ndjson(source)
    for old in source.parent.glob(f"{target.name}*"):
        old.unlink()
    before = cpu_now()
    config = str(SETTINGS / f"{dataset}.yaml")
    tag(f"{dataset}/{SYSTEM}", str(source), str(target), str(root), config, is_overwriting=True)
    return cpu_now() - before
