"""The parser on free prose whose phases, verdicts and labels are known, in several wordings. Its cue words are English.

Each wording says the same thoughts of the stand-in, half of the documents for development, half for test; cues may be mended on
the development half of wordings that are not held out. Intervals are 95% bootstrap over traces. `CTD_BENCH_DATASETS` names a
folder with more datasets in LF layout (`debian-tags` is taken if it is there). Results: `tests/bench/results/prose_truth.json`.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import samples
from tasks.labels.search import LabelIndex
from tasks.parsing.linking import MentionLinker, NearestLabels, Thresholds
from tests.bench.known_thoughts import LabelSet, read_label_set
from tests.bench.prose_truth import Counted, count_wording, summarise
from tests.bench.wordings.said import Wording

RESULTS = Path(__file__).parent / "results"
WORDINGS = ("own", "rambling", "clerk", "held_out")
HELD_OUT = ("held_out",)
TRAIN_DOCUMENTS, TEST_DOCUMENTS = 200, 100
HALVES = ("development", "test")


def folders() -> list[Path]:
    more = os.environ.get("CTD_BENCH_DATASETS")
    tags = Path(more) / "debian-tags" if more else None
    return [Path(samples.__file__).parent / "debian_seealso_small", *([tags] if tags and tags.exists() else [])]


def load_wording(name: str) -> Wording | None:
    """The wording of a module of its name, if it is there."""
    try:
        found: Wording = getattr(importlib.import_module(f"tests.bench.wordings.{name}"), name)
    except ModuleNotFoundError:
        return None
    return found


def linker_of(labels: LabelSet) -> MentionLinker:
    """All rungs but the last: no embedder is loaded."""
    nowhere = LabelIndex(np.zeros(1, np.int32), np.ones((1, 1), np.float32))
    nearest = NearestLabels(lambda texts: np.zeros((len(texts), 1), np.float32), nowhere)
    return MentionLinker(labels.catalogue, nearest, Thresholds(0.9, 0.8, 0.05))


def report(counted: list[Counted], halves: tuple[str, ...] = HALVES) -> dict[str, Any]:  # JSON: counts and lists
    return {half: summarise([one for one in counted if one.half == half]) for half in halves}


def measure(wording: Wording, sets: list[LabelSet], halves: tuple[str, ...]) -> dict[str, Any]:  # as above
    counted = {labels.name: count_wording(labels, wording, linker_of(labels)) for labels in sets}
    together = [one for part in counted.values() for one in part]
    return report(together, halves) | {"by_label_set": {name: report(part, halves) for name, part in counted.items()}}


@pytest.mark.bench
def test_prose_is_read_as_it_was_meant() -> None:
    sets = [read_label_set(folder, TRAIN_DOCUMENTS, TEST_DOCUMENTS) for folder in folders()]
    found = {}
    for name in WORDINGS:
        wording = load_wording(name)
        if wording is not None:
            halves = HALVES if name not in HELD_OUT else ("test",)
            found[name] = {"is_held_out": name in HELD_OUT} | measure(wording, sets, halves)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "prose_truth.json").write_text(json.dumps(found, indent=1) + "\n")
    own = found["own"]["test"]
    assert own["shortlist_recall"][0] > 0.9 and own["boundary_within_one"][0] > 0.9
