import numpy as np
import polars as pl
import pytest

from tasks.evaluation.neighbours import Neighbours, fit_neighbours
from tasks.labels.search import NO_LABEL

TRAIN = pl.DataFrame(
    {
        "document_id": ["a", "b", "c", "d"],
        "document_text": ["red wine cellar", "red wine glass", "blue sea water", "wine wine wine"],
    }
)
TARGETS = pl.DataFrame(
    {"document_id": ["a", "a", "b", "c"], "label_id": [7, 9, 9, 4]}, schema={"document_id": pl.String, "label_id": pl.Int32}
)


def found(text: str, k: int = 3) -> list[int]:
    return [i for i in fit_neighbours(TRAIN, TARGETS).search([text], k).label_ids[0].tolist() if i != NO_LABEL]


def test_search_ranks_labels_by_the_votes_of_near_documents() -> None:
    assert found("a red wine") == [9, 7]


def test_search_never_finds_a_label_that_shares_no_word() -> None:
    assert found("sea") == [4]
    assert found("nothing alike") == []


def test_search_scores_are_the_sums_of_cosines() -> None:
    neighbours = fit_neighbours(TRAIN.filter(pl.col("document_id") != "d"), TARGETS)
    ranking = neighbours.search(["red wine cellar"], 2)
    cosine_of_b = ranking.scores[0, 0] - ranking.scores[0, 1]
    assert ranking.label_ids[0].tolist() == [9, 7]
    assert ranking.scores[0, 1] == pytest.approx(1)
    assert 0 < cosine_of_b < 1


def test_search_lets_only_the_nearest_vote() -> None:
    known = fit_neighbours(TRAIN, TARGETS)
    nearest = Neighbours(["red wine cellar", "red wine glass"], known._targets[:2], np.array([4, 7, 9], np.int32), count=1)
    assert nearest.search(["red wine glass"], 3).label_ids[0].tolist() == [9, NO_LABEL, NO_LABEL]


def test_search_gives_each_text_its_own_list() -> None:
    ranking = fit_neighbours(TRAIN, TARGETS).search(["sea", "red wine"], 1)
    assert ranking.label_ids.tolist() == [[4], [9]]


def test_fit_neighbours_leaves_out_documents_without_a_target() -> None:
    assert found("wine wine wine", 1) == [9]
    assert len(fit_neighbours(TRAIN, TARGETS)._targets.toarray()) == 3
