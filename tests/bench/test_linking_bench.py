"""The ladder from mention to label on edited label names of the shared Debian data: precision and recall by rung and kind.

`CTD_BENCH_DATA` names the folder of data sets, `CTD_BENCH_DATASETS` which of them, `CTD_BENCH_SEED` the draw of the edits
(thresholds were chosen on the calibration half of seed 0); 63,436 labels take 7 minutes of one core to embed. Results go to
`tests/bench/results/linking.json`.
"""

import gzip
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.config import EmbedConfig, ParseConfig
from tasks.labels.embedder import label_text
from tasks.labels.encoder import load_encoder
from tasks.labels.search import LabelIndex, Vectors
from tasks.parsing.drafts import Link
from tasks.parsing.label_edits import DESCRIBING, KEEPING, EditedName, EditMaker
from tasks.parsing.linking import FuzzyNames, MentionLinker, NearestLabels, Thresholds, is_description
from tasks.parsing.names import Catalogue

DATA = Path(os.environ.get("CTD_BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "linking.json"
DATASETS = os.environ.get("CTD_BENCH_DATASETS", "debian-tags,debian-seealso").split(",")
SEED = int(os.environ.get("CTD_BENCH_SEED", "0"))
PER_KIND = 600
TIMED = 500
EVERY = 20
"""One label in so many is taken out of the catalogue for the mentions of absent labels."""

ABSENT_PER_KIND = 60

RESAMPLES = 1000
Share = tuple[float, float, float]
"""A part of a whole with its 95% bootstrap interval."""


@dataclass(frozen=True)
class Figures:
    """Mentions, how many of them were linked, rightly linked, and mean a label at all."""

    mentions: int
    linked: int
    right: int
    known: int
    precision: Share | None
    recall: Share | None


FiguresBy = dict[str, Figures]


@dataclass(frozen=True)
class Labels:
    """Names, identifiers and vectors of a data set; a label's id is its place."""

    names: Sequence[str]
    uids: Sequence[str]
    vectors: Vectors
    embed: Callable[[Sequence[str]], Vectors]

    def linker(self, kept: Sequence[int]) -> MentionLinker:
        """The ladder over some of the labels with the default thresholds."""
        catalogue = Catalogue(kept, [self.uids[i] for i in kept], [self.names[i] for i in kept])
        defaults = ParseConfig()
        thresholds = Thresholds(defaults.fuzzy_threshold, defaults.vector_threshold, defaults.vector_lead)
        return MentionLinker(catalogue, self.nearest(kept), thresholds)

    def nearest(self, kept: Sequence[int]) -> NearestLabels:
        """The vector rung over some of the labels."""
        return NearestLabels(self.embed, LabelIndex(np.array(kept, dtype=np.int32), self.vectors[list(kept)]))


def load_labels(dataset: str) -> Labels:
    """A data set's labels, embedded as the pipeline embeds them."""
    with gzip.open(DATA / dataset / "lbl.json.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    settings = EmbedConfig()
    encoder = load_encoder(settings.model, settings.label_tokens, settings.batch_size)
    vectors = encoder.encode([label_text(row["title"], row["content"]) for row in rows])
    return Labels(
        [row["title"] for row in rows], [row["uid"] for row in rows], vectors, lambda texts: encoder.encode(list(texts))
    )


def count(mentions: Sequence[EditedName], links: dict[str, Link], known_count: int | None = None) -> Figures:
    """Precision and recall over mentions; recall is of `known_count` mentions that mean a label, else of these."""
    linked = np.array([links[m.text].label_id is not None for m in mentions])
    right = np.array([m.label_id is not None and links[m.text].label_id == m.label_id for m in mentions])
    known = np.array([m.label_id is not None for m in mentions])
    draws = np.random.default_rng(0).integers(0, len(mentions), (RESAMPLES, len(mentions)))

    def share(whole: NDArray[np.bool_], outside: int) -> Share | None:
        if not whole.any():
            return None
        drawn = right[draws].sum(1) / np.maximum(whole[draws].sum(1) + outside, 1)
        low, high = np.percentile(drawn, (2.5, 97.5)).round(4).tolist()
        return round(float(right.sum() / (whole.sum() + outside)), 4), low, high

    outside = 0 if known_count is None else known_count - int(known.sum())
    return Figures(len(mentions), int(linked.sum()), int(right.sum()), int(known.sum()), share(linked, 0), share(known, outside))


def count_by(key: Callable[[EditedName], str], mentions: Sequence[EditedName], links: dict[str, Link]) -> FiguresBy:
    """Figures of each group; the recall of a rung is its part of all known mentions, that of a kind its own."""
    groups: dict[str, list[EditedName]] = defaultdict(list)
    for mention in mentions:
        groups[key(mention)].append(mention)
    return {name: count(groups[name], links) for name in groups}


def count_by_rung(mentions: Sequence[EditedName], links: dict[str, Link]) -> FiguresBy:
    """Figures of the mentions that each rung linked; its recall is its part of all known mentions."""
    known = sum(m.label_id is not None for m in mentions)
    rungs = ("exact", "normalised", "fuzzy", "vector")
    parts = {rung: [m for m in mentions if links[m.text].method == rung] for rung in rungs}
    return {rung: count(part, links, known) for rung, part in parts.items() if part}


@dataclass(frozen=True)
class Measured:
    """What one data set gives: of edited names, of edited descriptions without the name, and of labels that are absent."""

    label_count: int
    named: Figures
    named_by_rung: FiguresBy
    named_by_kind: FiguresBy
    described: Figures
    described_by_rung: FiguresBy
    described_by_kind: FiguresBy
    absent: Figures
    absent_by_kind: FiguresBy
    text_counts: dict[str, int]
    cpu_us_per_text: dict[str, int]


def measure(labels: Labels) -> Measured:
    """Figures of the test half."""
    drawn = [m for m in EditMaker(labels.names, SEED).mentions(PER_KIND) if m.half == "test"]
    linker = labels.linker(range(len(labels.names)))
    links = linker.link(m.text for m in drawn)
    named = [m for m in drawn if m.kind not in DESCRIBING]
    described = [m for m in drawn if m.kind in DESCRIBING]
    absent, unwanted = link_absent(labels)
    text_counts, spent = time_rungs(linker, [m.text for m in named], labels)
    return Measured(
        len(labels.names),
        count(named, links),
        count_by_rung(named, links),
        count_by(lambda m: m.kind, named, links),
        count(described, links),
        count_by_rung(described, links),
        count_by(lambda m: m.kind, described, links),
        count(absent, unwanted),
        count_by(lambda m: m.kind, absent, unwanted),
        text_counts,
        spent,
    )


def link_absent(labels: Labels) -> tuple[list[EditedName], dict[str, Link]]:
    """Edited names of labels that were taken out of the catalogue: every link is wrong."""
    kept = [i for i in range(len(labels.names)) if i % EVERY]
    drawn = EditMaker(labels.names, SEED + 100).mentions(ABSENT_PER_KIND * EVERY)
    gone = [m for m in drawn if m.kind in KEEPING and m.label_id is not None and not m.label_id % EVERY]
    return [replace(m, label_id=None) for m in gone], labels.linker(kept).link(m.text for m in gone)


def time_rungs(linker: MentionLinker, texts: Sequence[str], labels: Labels) -> tuple[dict[str, int], dict[str, int]]:
    """How many texts come to each rung, and its CPU microseconds a text; descriptions stand for what is embedded."""
    catalogue, defaults = linker.catalogue, ParseConfig()
    spent: dict[str, int] = {}

    def left_by(rung: str, link: Callable[[str], Link | None], came: Sequence[str]) -> list[str]:
        started = time.process_time()
        left = [text for text in came if link(text) is None]
        spent[rung] = round(1e6 * (time.process_time() - started) / max(len(came), 1))
        return left

    started = time.process_time()
    fuzzy = FuzzyNames(catalogue)
    spent["building the fuzzy index, a label"] = round(1e6 * (time.process_time() - started) / len(labels.names))
    unknown = left_by("exact and normalised", catalogue.lookup, texts)
    unlinked = left_by("tail, turned and wrapped", catalogue.lookup_loosely, unknown)
    unspelt = left_by("fuzzy", lambda text: fuzzy.link(text, defaults.fuzzy_threshold), unlinked)
    described = [name.partition(": ")[2] for name in labels.names[:TIMED]]
    started = time.process_time()
    labels.nearest(range(len(labels.names))).link(described, defaults.vector_threshold, defaults.vector_lead)
    spent["vector"] = round(1e6 * (time.process_time() - started) / len(described))
    to_vector = sum(map(is_description, unspelt))
    return {"all": len(texts), "unknown": len(unknown), "to fuzzy": len(unlinked), "to vector": to_vector}, spent


@pytest.mark.bench
@pytest.mark.skipif(not DATA.exists(), reason="needs the shared Debian data; CTD_BENCH_DATA names their folder")
def test_linking_by_rung_and_edit() -> None:
    found = {dataset: measure(load_labels(dataset)) for dataset in DATASETS}
    RESULTS.parent.mkdir(exist_ok=True)
    written = {"seed": SEED, **{dataset: asdict(figures) for dataset, figures in found.items()}}
    RESULTS.write_text(json.dumps(written, indent=1) + "\n")
    for figures in found.values():
        assert figures.named.right >= 0.98 * figures.named.linked
        assert figures.named.right >= 0.90 * figures.named.known
