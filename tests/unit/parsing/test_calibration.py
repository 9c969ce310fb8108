from itertools import pairwise

import pytest

from tasks.parsing.calibration import calibrate
from tasks.parsing.linking import FuzzyNames
from tasks.parsing.names import Catalogue

WORDS = (
    "alpine",
    "border",
    "candle",
    "dolphin",
    "engine",
    "forest",
    "garden",
    "harbour",
    "island",
    "jungle",
    "kitchen",
    "lantern",
)
NAMES = [
    f"{a}-{b}: {c} {d} of the {b}" for a, b, c, d in zip(WORDS * 4, WORDS[1:] * 4, WORDS[5:] * 6, WORDS[3:] * 5, strict=False)
]


def catalogue() -> Catalogue:
    names = list(dict.fromkeys(NAMES))
    return Catalogue(range(100, 100 + len(names)), [f"u{i}" for i in range(len(names))], names)


def test_calibrate_takes_the_least_threshold_that_reaches_the_precision() -> None:
    labels = catalogue()
    fuzzy = FuzzyNames(labels)
    loose, strict = (calibrate(labels, fuzzy, target, seed=0) for target in (0.5, 0.99))
    assert loose.threshold == 0.6
    assert loose.is_reached
    assert strict.threshold > loose.threshold
    assert strict.precision > loose.precision
    assert strict.recall < loose.recall
    assert strict == calibrate(labels, fuzzy, 0.99, seed=0)


def test_calibrate_takes_the_strictest_threshold_if_none_reaches_the_precision() -> None:
    names = [f"{word}: shared words of every {other}" for word, other in pairwise(WORDS)]
    labels = Catalogue(range(len(names)), [f"u{i}" for i in range(len(names))], names)
    assert labels.lookup("alpine: shared words of every island") is not None
    found = calibrate(labels, FuzzyNames(labels), 1.0, seed=0)
    assert not found.is_reached
    assert found.threshold == 1.0


@pytest.mark.parametrize("names", [["one"], ["one", "two"], ["???", "!!!"]])
def test_calibrate_of_few_labels_does_not_fail(names: list[str]) -> None:
    labels = Catalogue(range(len(names)), [f"u{i}" for i in range(len(names))], names)
    assert 0.6 <= calibrate(labels, FuzzyNames(labels), 0.98, seed=0).threshold <= 1.0
