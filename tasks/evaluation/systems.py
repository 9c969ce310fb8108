"""What each system predicts: the teacher's lists and retrieval rankings as candidates, and every system's ranks."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from tasks.evaluation.metrics import PAIR
from tasks.intervals.contrasts import SEEDLESS, TEACHER
from tasks.labels.search import NO_LABEL, Ranking

CANDIDATE = ("system", "seed", "document_id", "label_id", "score")


def rank_teacher(answers: pl.DataFrame, shortlist: pl.DataFrame) -> pl.DataFrame:
    """The teacher's candidates: its final answers by rank, then the rest of its shortlist by rank.

    Decision rule: an answer stands before every label that is only shortlisted, whatever confidence the teacher gives;
    mentions that link to no label are left out; a label named more than once (also in several traces of a document)
    keeps its best place. Scores are 1 / place: they carry the order and nothing else. A document without a usable
    trace has no rows: an empty prediction, which counts as a miss.

    Args:
        answers: `core_answers` of the documents to score.
        shortlist: `core_shortlist` of the same documents.
    """
    lists = [part.select(*PAIR, "rank", list_order=pl.lit(order)) for order, part in enumerate((answers, shortlist))]
    named = pl.concat(lists).drop_nulls("label_id").sort("document_id", "list_order", "rank", "label_id")
    once = named.unique(PAIR, keep="first", maintain_order=True)
    place = pl.int_range(1, pl.len() + 1).over("document_id")
    return once.select(pl.lit(TEACHER).alias("system"), pl.lit(0, pl.Int32).alias("seed"), *PAIR, score=1.0 / place)


def rank_retrieved(system: str, document_ids: Sequence[str], ranking: Ranking) -> pl.DataFrame:
    """A retrieval ranking as candidates of a system, seed 0; the padding of short lists is dropped."""
    width = ranking.label_ids.shape[1]
    documents = pl.Series("document_id", document_ids, pl.String)
    frame = pl.DataFrame(
        {
            "document_id": documents.gather(np.repeat(np.arange(len(documents)), width)),
            "label_id": ranking.label_ids.ravel(),
            "score": ranking.scores.ravel().astype(np.float64),
        }
    )
    found = frame.filter(pl.col("label_id") != NO_LABEL)
    return found.select(pl.lit(system).alias("system"), pl.lit(0, pl.Int32).alias("seed"), *PAIR, "score")


def filtered_pairs(relevance: pl.DataFrame, documents: pl.DataFrame) -> pl.DataFrame:
    """`document_id` and `label_id` of the pairs of these documents that are left out of rankings."""
    return relevance.filter(pl.col("is_filtered")).join(documents, on="document_id", how="semi").select(PAIR)


def fetch_count(filtered: pl.DataFrame, prediction_count: int) -> int:
    """Labels to retrieve a document, so that `prediction_count` are left after its filtered pairs are removed."""
    largest = filtered.group_by("document_id").len().select(pl.col("len").max()).item()
    return prediction_count + (largest or 0)


def list_seeds(predictions: pl.DataFrame) -> dict[str, tuple[int, ...]]:
    """The seeds of every system, systems in order of their first row.

    The teacher and the baselines are listed even where they predict nothing at all.
    """
    return dict.fromkeys(SEEDLESS, (0,)) | seeds_of(predictions)


def seeds_of(predictions: pl.DataFrame) -> dict[str, tuple[int, ...]]:
    """The seeds of every system that predicts something, systems in order of their first row."""
    found = predictions.select("system", "seed").unique(maintain_order=True).group_by("system", maintain_order=True)
    return {str(name): tuple(sorted(part["seed"].to_list())) for (name,), part in found}


def rank_candidates(candidates: pl.DataFrame, filtered: pl.DataFrame, prediction_count: int) -> pl.DataFrame:
    """The candidates with their `rank` by score, ties by label number, at most `prediction_count` a list.

    Filtered pairs are removed before ranks are given, so that they take no place.

    Args:
        candidates: `system`, `seed`, `document_id`, `label_id`, `score`; one list a system, seed and document.
        filtered: `document_id` and `label_id` of the pairs to leave out.
        prediction_count: labels kept of one list.
    """
    left = candidates.select(CANDIDATE).join(filtered.select(PAIR), on=PAIR, how="anti")
    lists = left.with_columns(list=pl.struct("system", "seed", "document_id").rank("dense"))
    ordered = lists.sort("list", "score", "label_id", descending=[False, True, False])
    ranked = ordered.with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("list"))
    return ranked.filter(pl.col("rank") <= prediction_count).drop("list")
