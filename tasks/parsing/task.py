"""The parse stage: teacher text to traces, shortlists, steps, answers and rejects."""

import logging
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache

from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, ParseConfig
from schemas.refs import RunRef, StageCost, StageInputs, StageResult
from tasks.labels.search import Vectors
from tasks.labels.task import open_embedder, open_label_index
from tasks.parsing.calibration import calibrate
from tasks.parsing.linking import FuzzyNames, MentionLinker, NearestLabels, Thresholds
from tasks.parsing.names import Catalogue
from tasks.parsing.rows import READ_COLUMNS, WRITTEN, Frames
from tasks.parsing.shared_words import SharedWords
from tasks.parsing.tables import BATCH_ROWS, RejectCount, parse_parts, refuse_many_rejects
from tasks.parsing.workers import fitting_processes
from warehouse.parquet import iter_table, read_table, write_tables_parts

logger = logging.getLogger(__name__)


@task(cache_policy=NO_CACHE)
def parse_traces(run: RunRef, inputs: StageInputs, parse: ParseConfig, embed: EmbedConfig) -> StageResult:
    """`raw_traces` -> `core_traces`, `core_shortlist`, `core_steps`, `core_answers`; the leftovers go to `core_rejects`."""
    started = time.monotonic()
    count = RejectCount()
    with closing(_parse(run, inputs, parse, embed, count)) as parts:
        refs = write_tables_parts(run, "parse", WRITTEN, parts)
    rejected = count.reasons.total()
    logger.info(
        "parse: %d raw traces in, %d traces out, %d rejected, %.1f s",
        count.row_count, count.row_count - rejected, rejected, time.monotonic() - started,
    )  # fmt: skip
    return StageResult(tables=refs, cost=StageCost(rows_in_count=count.row_count, rejected_count=rejected))


def _parse(run: RunRef, inputs: StageInputs, parse: ParseConfig, embed: EmbedConfig, count: RejectCount) -> Generator[Frames]:
    """The five tables part by part; after the last part, the stop if too many rows were rejected."""
    raw = inputs.tables["raw_traces"]
    core_count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = parse.process_count or fitting_processes(raw.row_count, core_count)
    catalogue, open_linker = open_linkers(run, inputs, parse, embed, processes)
    yield from parse_parts(iter_table(raw, BATCH_ROWS, READ_COLUMNS), catalogue, open_linker, count, processes)
    refuse_many_rejects(count, parse.max_reject_frac)


def embed_beside(embed: Callable[[Sequence[str]], Vectors], process_count: int) -> Callable[[Sequence[str]], Vectors]:
    """The same with one torch thread where other processes read: on cores that are taken, threads burn time in waiting."""

    def embed_alone(texts: Sequence[str]) -> Vectors:
        import torch  # loaded with the model: most runs need neither

        count = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return embed(texts)
        finally:
            torch.set_num_threads(count)

    return embed_alone if process_count > 1 else embed


def open_linkers(
    run: RunRef, inputs: StageInputs, parse: ParseConfig, embed: EmbedConfig, process_count: int
) -> tuple[Catalogue, Callable[[], MentionLinker]]:
    """The run's labels by name, and what opens a ladder over them that remembers nothing yet.

    The embedder is loaded only if a mention comes to its last rung.
    """
    labels = read_table(inputs.tables["core_labels"], ["label_id", "label_uid", "label_name", "description_text"])
    catalogue = Catalogue(labels["label_id"].to_list(), labels["label_uid"].to_list(), labels["label_name"].to_list())
    index = open_label_index(run, inputs.artifacts["label_index"], inputs.tables["core_labels"])
    texts = [*labels["label_name"], *labels["description_text"].drop_nulls()]
    shared = cache(lambda: SharedWords(texts))  # made when the first text comes to the last rung
    embed_texts = embed_beside(open_embedder(run, embed, embed.label_tokens).embed, process_count)
    nearest = NearestLabels(embed_texts, index, lambda text: shared().may_be_near(text))
    fuzzy = FuzzyNames(catalogue)
    thresholds = _thresholds(catalogue, fuzzy, parse)
    return catalogue, lambda: MentionLinker(catalogue, nearest, thresholds, fuzzy)


def _thresholds(catalogue: Catalogue, fuzzy: FuzzyNames, parse: ParseConfig) -> Thresholds:
    thresholds = Thresholds(parse.fuzzy_threshold, parse.vector_threshold, parse.vector_lead)
    if parse.target_precision is None:
        return thresholds
    found = calibrate(catalogue, fuzzy, parse.target_precision, parse.seed)
    logger.log(
        logging.INFO if found.is_reached else logging.WARNING,
        "parse: fuzzy threshold %.2f for parse.target_precision = %.3f, which it %s; on %d other edited names of these labels "
        "precision %.3f, recall %.3f",
        found.threshold, parse.target_precision, "reaches" if found.is_reached else "does not reach", found.mention_count,
        found.precision, found.recall,
    )  # fmt: skip
    return replace(thresholds, fuzzy=found.threshold)
