"""The parse stage: teacher text to traces, shortlists, steps, answers and rejects."""

import logging
import time
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, ParseConfig
from schemas.refs import RunRef, StageCost, StageInputs, StageResult
from tasks.labels.task import open_embedder, open_label_index
from tasks.parsing.calibration import calibrate
from tasks.parsing.linking import FuzzyNames, MentionLinker, NearestLabels, Thresholds
from tasks.parsing.names import Catalogue
from tasks.parsing.tables import WRITTEN, parse_rows, refuse_many_rejects
from warehouse.parquet import read_table, write_table

logger = logging.getLogger(__name__)


@task(cache_policy=NO_CACHE)
def parse_traces(run: RunRef, inputs: StageInputs, parse: ParseConfig, embed: EmbedConfig) -> StageResult:
    """`raw_traces` -> `core_traces`, `core_shortlist`, `core_steps`, `core_answers`; the leftovers go to `core_rejects`."""
    started = time.monotonic()
    raw = read_table(inputs.tables["raw_traces"])
    tables = parse_rows(raw, open_linker(run, inputs, parse, embed))
    rejects = tables["core_rejects"]
    refuse_many_rejects(len(raw), rejects, parse.max_reject_frac)
    refs = tuple(write_table(run, "parse", table, tables[table.name]) for table in WRITTEN)
    logger.info(
        "parse: %d raw traces in, %d traces out, %d rejected, %.1f s",
        len(raw), len(tables["core_traces"]), len(rejects), time.monotonic() - started,
    )  # fmt: skip
    return StageResult(tables=refs, cost=StageCost(rows_in_count=len(raw), rejected_count=len(rejects)))


def open_linker(run: RunRef, inputs: StageInputs, parse: ParseConfig, embed: EmbedConfig) -> MentionLinker:
    """The ladder over the run's labels; the embedder is loaded only if a mention comes to its last rung."""
    labels = read_table(inputs.tables["core_labels"], ["label_id", "label_uid", "label_name"])
    catalogue = Catalogue(labels["label_id"].to_list(), labels["label_uid"].to_list(), labels["label_name"].to_list())
    index = open_label_index(run, inputs.artifacts["label_index"], inputs.tables["core_labels"])
    nearest = NearestLabels(open_embedder(run, embed, embed.label_tokens).embed, index)
    thresholds = Thresholds(parse.fuzzy_threshold, parse.vector_threshold, parse.vector_lead)
    if parse.target_precision is None:
        return MentionLinker(catalogue, nearest, thresholds)
    fuzzy = FuzzyNames(catalogue)
    found = calibrate(catalogue, fuzzy, parse.target_precision, parse.seed)
    logger.log(
        logging.INFO if found.is_reached else logging.WARNING,
        "parse: fuzzy threshold %.2f for parse.target_precision = %.3f, which it %s; on %d other edited names of these labels "
        "precision %.3f, recall %.3f",
        found.threshold, parse.target_precision, "reaches" if found.is_reached else "does not reach", found.mention_count,
        found.precision, found.recall,
    )  # fmt: skip
    return MentionLinker(catalogue, nearest, replace(thresholds, fuzzy=found.threshold), fuzzy)
