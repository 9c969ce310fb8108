import numpy as np
import polars as pl

from schemas.selections import of_whole_traces
from tasks.evaluation.systems import (
    fetch_count,
    filtered_pairs,
    list_seeds,
    rank_candidates,
    rank_retrieved,
    rank_teacher,
)
from tasks.intervals.contrasts import SEEDLESS
from tasks.labels.search import NO_LABEL, Ranking

LISTED = {"document_id": pl.String, "label_id": pl.Int32, "rank": pl.Int32}
PAIRS = {"document_id": pl.String, "label_id": pl.Int32}
NOTHING = pl.DataFrame(schema=PAIRS)


def listed(*rows: tuple[str, int | None, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=LISTED, orient="row")


def scored(*rows: tuple[str, int, str, int, float]) -> pl.DataFrame:
    schema = {"system": pl.String, "seed": pl.Int32, **PAIRS, "score": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def order(frame: pl.DataFrame) -> list[int]:
    return frame.sort("score", descending=True)["label_id"].to_list()


def test_rank_teacher_puts_answers_before_the_shortlist() -> None:
    found = rank_teacher(listed(("d", 7, 2), ("d", 5, 1)), listed(("d", 3, 1), ("d", 7, 2), ("d", 2, 3)))
    assert order(found) == [5, 7, 3, 2]
    assert found["score"].to_list() == [1, 1 / 2, 1 / 3, 1 / 4]


def test_rank_teacher_leaves_out_mentions_that_link_to_no_label() -> None:
    assert order(rank_teacher(listed(("d", None, 1), ("d", 4, 2)), listed(("d", None, 1)))) == [4]


def test_rank_teacher_keeps_the_best_place_over_several_traces() -> None:
    answers = listed(("d", 5, 1), ("d", 6, 2), ("d", 6, 1), ("d", 8, 2))
    assert order(rank_teacher(answers, listed())) == [5, 6, 8]


def test_rank_teacher_ranks_each_document_alone() -> None:
    found = rank_teacher(listed(("a", 1, 1), ("b", 2, 1)), listed(("a", 2, 1)))
    assert found.select("document_id", "label_id", "score").rows() == [("a", 1, 1.0), ("a", 2, 0.5), ("b", 2, 1.0)]


def test_of_whole_traces_leaves_out_single_phases_and_further_samples() -> None:
    rows = [("t1", "both", 0), ("t2", "both", 1), ("t3", "phase-1", 0), ("t4", "phase-2-index", 0)]
    traces = pl.DataFrame(rows, schema=("trace_id", "variant", "sample_index"), orient="row")
    part = pl.DataFrame({"trace_id": ["t4", "t1", "t2", "t1", "t3", "t9"], "rank": [1, 2, 3, 4, 5, 6]})
    assert of_whole_traces(part, traces)["rank"].to_list() == [2, 4]
    assert of_whole_traces(traces, traces)["trace_id"].to_list() == ["t1"]


def test_rank_retrieved_drops_padding() -> None:
    ranking = Ranking(np.array([[4, 2], [1, NO_LABEL]], np.int32), np.array([[0.9, 0.5], [0.7, -np.inf]], np.float32))
    found = rank_retrieved("embedding", ["a", "b"], ranking)
    assert found.select("system", "seed", "document_id", "label_id").rows() == [
        ("embedding", 0, "a", 4),
        ("embedding", 0, "a", 2),
        ("embedding", 0, "b", 1),
    ]


def test_rank_candidates_breaks_ties_by_label_number() -> None:
    candidates = scored(("s", 0, "d", 9, 0.5), ("s", 0, "d", 2, 0.5), ("s", 0, "d", 4, 0.8))
    found = rank_candidates(candidates, NOTHING, 10)
    assert found.select("label_id", "rank").rows() == [(4, 1), (2, 2), (9, 3)]


def test_rank_candidates_removes_filtered_pairs_before_ranks_are_given() -> None:
    candidates = scored(("s", 0, "d", 1, 0.9), ("s", 0, "d", 2, 0.8), ("s", 0, "d", 3, 0.7), ("s", 0, "e", 1, 0.9))
    filtered = pl.DataFrame({"document_id": ["d"], "label_id": [1]}, schema=PAIRS)
    found = rank_candidates(candidates, filtered, 2)
    assert found.select("document_id", "label_id", "rank").rows() == [("d", 2, 1), ("d", 3, 2), ("e", 1, 1)]


def test_rank_candidates_ranks_each_system_seed_and_document_alone() -> None:
    lists = [("s", 0, "d"), ("s", 1, "d"), ("t", 0, "d"), ("s", 0, "e")]
    candidates = scored(*[(*which, label, -float(label)) for label in (3, 1) for which in lists])
    found = rank_candidates(candidates, NOTHING, 1)
    assert len(found) == 4
    assert set(found["label_id"]) == {1}


def test_rank_candidates_of_nothing_are_nothing() -> None:
    assert rank_candidates(scored(), NOTHING, 5).is_empty()


def test_fetch_count_allows_for_the_most_filtered_document() -> None:
    relevance = pl.DataFrame(
        {
            "document_id": ["d", "d", "e", "e", "train"],
            "label_id": [1, 2, 1, 3, 1],
            "is_filtered": [True, True, True, False, True],
        }
    )
    filtered = filtered_pairs(relevance, pl.DataFrame({"document_id": ["d", "e"]}))
    assert sorted(filtered.rows()) == [("d", 1), ("d", 2), ("e", 1)]
    assert fetch_count(filtered, 100) == 102
    assert fetch_count(filtered.clear(), 100) == 100


def test_list_seeds_has_systems_that_predict_nothing() -> None:
    ranked = scored(("lexical", 0, "d", 1, 1.0), ("answers", 2, "d", 1, 1.0), ("answers", 0, "d", 1, 1.0))
    assert list_seeds(ranked) == {**dict.fromkeys(SEEDLESS, (0,)), "answers": (0, 2)}
