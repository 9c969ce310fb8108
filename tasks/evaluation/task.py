"""Evaluate: what every system predicts, how good it is, and how systems differ."""

import logging
import time
from dataclasses import dataclass

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from schemas.config import EmbedConfig, EvaluateConfig
from schemas.refs import RunRef, StageCost, StageInputs, StageResult, TableRef
from schemas.selections import of_whole_traces
from schemas.tables import CORE_PREDICTIONS, OUT_CONTRASTS, OUT_METRICS
from tasks.evaluation.leaderboard import describe_targets, score_systems, split_targets
from tasks.evaluation.metrics import find_hits
from tasks.evaluation.neighbours import fit_neighbours
from tasks.evaluation.systems import (
    fetch_count,
    filtered_pairs,
    list_seeds,
    rank_candidates,
    rank_retrieved,
    rank_teacher,
    seeds_of,
)
from tasks.intervals.contrasts import EMBEDDING, LEXICAL, NEIGHBOURS, TEACHER
from tasks.labels.embedder import label_text
from tasks.labels.lexical import LexicalIndex
from tasks.labels.task import open_embedder, open_label_index
from warehouse.parquet import read_table, write_table

logger = logging.getLogger(__name__)

DECODER_PREDICTIONS = "fidelity:core_predictions"


@task(cache_policy=NO_CACHE)
def evaluate_systems(
    run: RunRef, inputs: StageInputs, evaluate: EvaluateConfig, embed: EmbedConfig, student_predictions: TableRef
) -> StageResult:
    """The teacher, the baselines and the students, side by side on the test documents.

    Reads `core_documents`, `core_labels`, `core_relevance`, `core_traces`, `core_shortlist`, `core_answers`, the label index
    and `student_predictions` (a `core_predictions` table, filtered pairs may still be in it), and the predictions of decoder
    students if they were published; writes `core_predictions` of every other system, `out_metrics` and `out_contrasts`.
    """
    started = time.monotonic()
    documents, relevance = (read_table(inputs.tables[name]) for name in ("core_documents", "core_relevance"))
    labels, students = read_table(inputs.tables["core_labels"]), read_table(student_predictions)
    test = documents.filter(pl.col("split") == "test")
    filtered = filtered_pairs(relevance, test)
    targets = describe_targets(labels, relevance, len(documents) - len(test), evaluate)
    candidates = [
        teacher_candidates(inputs, test),
        *retrieval_candidates(run, inputs, embed, test, labels, fetch_count(filtered, evaluate.prediction_count)),
        neighbour_candidates(documents, relevance, fetch_count(filtered, evaluate.prediction_count)),
        students.join(test, on="document_id", how="semi"),
    ]
    ranked = pl.concat(rank_candidates(part, filtered, evaluate.prediction_count) for part in candidates)
    metrics, contrasts = score_systems(find_hits(ranked, targets), targets, list_seeds(ranked), evaluate)
    written = score_decoder_students(inputs, filtered, targets, evaluate)
    metrics, contrasts = pl.concat([metrics, *written.metrics]), pl.concat([contrasts, *written.contrasts])
    own = {"run_id": pl.lit(run.run_id), "dataset": pl.lit(run.dataset), "split": pl.lit("test")}
    tables = tuple(
        write_table(run, "evaluate", table, table.conform(frame.with_columns(**own)))
        for table, frame in ((CORE_PREDICTIONS, ranked), (OUT_METRICS, metrics), (OUT_CONTRASTS, contrasts))
    )
    dropped = len(test) - targets["document_id"].n_unique()
    logger.info(
        "evaluate: %d test documents in, %d without a target dropped, %d predictions, %d metrics, %d contrasts out, %.1f s",
        len(test), dropped, len(ranked), len(metrics), len(contrasts), time.monotonic() - started,
    )  # fmt: skip
    return StageResult(tables=tables, cost=StageCost(rows_in_count=len(test), rejected_count=dropped))


@dataclass(frozen=True)
class Scored:
    """Rows of `out_metrics` and `out_contrasts` without the run's own columns; nothing where there was nothing to score."""

    metrics: tuple[pl.DataFrame, ...] = ()
    contrasts: tuple[pl.DataFrame, ...] = ()


def score_decoder_students(
    inputs: StageInputs, filtered: pl.DataFrame, targets: pl.DataFrame, evaluate: EvaluateConfig
) -> Scored:
    """Decoder students on the test documents they wrote of, which may be fewer than the others were scored on."""
    ref = inputs.tables.get(DECODER_PREDICTIONS)
    if ref is None:
        return Scored()
    ranked = rank_candidates(read_table(ref), filtered, evaluate.prediction_count)
    counted = targets.join(ranked.select("document_id").unique(), on="document_id", how="semi")
    if counted.is_empty():
        logger.warning("evaluate: none of the test documents that decoder students wrote of has a target; they are left out")
        return Scored()
    logger.info(
        "evaluate: decoder students on %d of %d test documents with a target",
        counted["document_id"].n_unique(), targets["document_id"].n_unique(),
    )  # fmt: skip
    metrics, contrasts = score_systems(find_hits(ranked, counted), counted, seeds_of(ranked), evaluate)
    return Scored((metrics,), (contrasts,))


def teacher_candidates(inputs: StageInputs, test: pl.DataFrame) -> pl.DataFrame:
    """The teacher's lists for the test documents, with its coverage in the log."""
    every = read_table(inputs.tables["core_traces"])
    traces, answers, shortlist = (
        of_whole_traces(part, every).join(test, on="document_id", how="semi")
        for part in (every, *(read_table(inputs.tables[name]) for name in ("core_answers", "core_shortlist")))
    )
    logger.info("%s: usable traces of %d of %d test documents", TEACHER, traces["document_id"].n_unique(), len(test))
    return rank_teacher(answers, shortlist)


def retrieval_candidates(
    run: RunRef, inputs: StageInputs, embed: EmbedConfig, test: pl.DataFrame, labels: pl.DataFrame, count: int
) -> list[pl.DataFrame]:
    """The lists of the two zero-shot baselines: `lexical` by wording, `embedding` by the label index."""
    document_ids, texts = test["document_id"].to_list(), test["document_text"].to_list()
    label_texts = [label_text(name, text) for name, text in labels.select("label_name", "description_text").iter_rows()]
    lexical = LexicalIndex(labels["label_id"].to_numpy(), label_texts)
    vectors = open_embedder(run, embed, embed.document_tokens).embed(texts)
    index = open_label_index(run, inputs.artifacts["label_index"], inputs.tables["core_labels"])
    return [
        rank_retrieved(LEXICAL, document_ids, lexical.search(texts, count)),
        rank_retrieved(EMBEDDING, document_ids, index.search(vectors, count)),
    ]


def neighbour_candidates(documents: pl.DataFrame, relevance: pl.DataFrame, count: int) -> pl.DataFrame:
    """The lists of `knn-gold`: the known targets of the nearest train documents."""
    train, test = (documents.filter(pl.col("split") == split) for split in ("train", "test"))
    ranking = fit_neighbours(train, split_targets(relevance, "train")).search(test["document_text"].to_list(), count)
    return rank_retrieved(NEIGHBOURS, test["document_id"].to_list(), ranking)
