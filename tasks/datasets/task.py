"""Read an LF dataset into `core_documents`, `core_labels`, `core_relevance`; bad lines go to `core_rejects`."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import IngestConfig
from schemas.errors import ConfigError, InputFormatError
from schemas.refs import RunRef, StageCost, StageResult, TableRef
from schemas.tables import CORE_DOCUMENTS, CORE_LABELS, CORE_REJECTS, CORE_RELEVANCE
from tasks.datasets.lf import DocumentReader, Rejects, merge_relevance, parse_filters, parse_labels
from warehouse.dataset_files import LF_FILES, find_file, read_lines, require_file
from warehouse.parquet import write_table, write_table_parts

logger = logging.getLogger(__name__)


@task(cache_policy=NO_CACHE)
def ingest_dataset(run: RunRef, ingest: IngestConfig) -> StageResult:
    """A folder in LF layout -> the dataset's tables.

    Raises:
        ConfigError: no path is set.
        InputFormatError: a file is missing, empty or unreadable, or too many of its rows are bad.
    """
    started = time.monotonic()
    if ingest.path is None:
        raise ConfigError("ingest.path is not set: give PATH")
    folder, rejects = Path(ingest.path), Rejects(run.dataset)
    paths = {role: require_file(folder, role) for role in ("labels", "train", "test")}
    labels = parse_labels(read_lines(paths["labels"]), paths["labels"].name, rejects)
    if labels.is_empty():
        raise InputFormatError(f"{paths['labels']}: no usable label in {rejects.seen_count} lines; {describe_rejects(rejects)}")
    reader = DocumentReader(labels["label_id"].to_list(), rejects)
    documents, targets = write_documents(run, reader, paths)
    for split in ("train", "test"):
        if not reader.lines[split]:
            raise InputFormatError(f"{paths[split]}: no usable document; {describe_rejects(rejects)}")
    relevance = merge_relevance(targets, read_filters(folder, reader, frozenset(labels["label_id"].to_list()), rejects))
    refuse_many_rejects(folder, rejects, ingest.max_reject_frac)
    tables = (
        documents,
        write_table(run, "ingest", CORE_LABELS, labels),
        write_table(run, "ingest", CORE_RELEVANCE, relevance),
        write_table(run, "ingest", CORE_REJECTS, rejects.frame()),
    )
    counts = f"{documents.row_count} documents, {labels.height} labels, {relevance.height} pairs"
    logger.info("ingest: %s, %d rejected, %.1f s", counts, len(rejects.rows), time.monotonic() - started)
    cost = StageCost(rows_in_count=rejects.seen_count, rejected_count=len(rejects.rows))
    return StageResult(tables=tables, cost=cost)


def write_documents(run: RunRef, reader: DocumentReader, paths: dict[str, Path]) -> tuple[TableRef, pl.DataFrame]:
    """Stream both document files into `core_documents`; the targets come back as a frame."""
    targets = [CORE_RELEVANCE.empty()]

    def chunks() -> Iterator[pl.DataFrame]:
        for split in ("train", "test"):
            for chunk in reader.read(read_lines(paths[split]), paths[split].name, split):
                targets.append(chunk.relevance)
                yield chunk.documents

    return write_table_parts(run, "ingest", CORE_DOCUMENTS, chunks()), pl.concat(targets)


def read_filters(folder: Path, reader: DocumentReader, label_ids: frozenset[int], rejects: Rejects) -> pl.DataFrame:
    """The pairs of both filter files, where there are any."""
    found = [CORE_RELEVANCE.empty()]
    for split in ("train", "test"):
        path = find_file(folder, LF_FILES[f"filter_{split}"])
        if path is not None:
            found.append(parse_filters(read_lines(path), path.name, split, reader.lines[split], label_ids, rejects))
    return pl.concat(found)


def describe_rejects(rejects: Rejects) -> str:
    """How many lines were bad, and the first of them."""
    first = rejects.rows[0] if rejects.rows else None
    where = f", first {first['source_key']}: {first['reject_reason']}: {first['detail_text']}" if first else ""
    return f"{len(rejects.rows)} of {rejects.seen_count} rows rejected{where}"


def refuse_many_rejects(folder: Path, rejects: Rejects, limit: float) -> None:
    """Refuse a dataset of which too much is unusable.

    Raises:
        InputFormatError: the share of rejects is above the limit; nothing is published.
    """
    share = len(rejects.rows) / max(rejects.seen_count, 1)
    if share > limit:
        raise InputFormatError(
            f"{folder}: {describe_rejects(rejects)} ({share:.3f} > ingest.max_reject_frac {limit}); nothing was published"
        )
