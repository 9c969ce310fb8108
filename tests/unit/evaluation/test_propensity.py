from math import log

import polars as pl
import pytest

from schemas.errors import EmptyTargetError
from tasks.evaluation.propensity import inverse_propensities

COUNTS = pl.DataFrame({"label_id": [0, 1, 2], "train_document_count": [0, 4, 100]})


def test_inverse_propensities_by_hand() -> None:
    c = (log(100) - 1) * 2.5**0.55
    wanted = [1 + c / 1.5**0.55, 1 + c / 5.5**0.55, 1 + c / 101.5**0.55]
    assert inverse_propensities(COUNTS, 100, 0.55, 1.5)["inverse_propensity"].to_list() == pytest.approx(wanted)


@pytest.mark.parametrize("count", [3, 100, 1_000_000])
def test_inverse_propensities_fall_with_frequency_and_stay_above_1(count: int) -> None:
    unseen, rare, frequent = inverse_propensities(COUNTS, count, 0.55, 1.5)["inverse_propensity"]
    assert unseen > rare > frequent > 1


def test_inverse_propensities_refuse_a_train_split_too_small() -> None:
    with pytest.raises(EmptyTargetError, match="2 train documents"):
        inverse_propensities(COUNTS, 2, 0.55, 1.5)
