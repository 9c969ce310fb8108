"""Relations among the sample's labels, from documents of the full set that no test group touches.

Run as `python -m samples.make_knowledge FULL_DIR SAMPLE_DIR OUT`. The same folders give the same bytes.
"""

import gzip
import json
import logging
import math
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

MAX_TARGETS = 50
"""Documents with more targets are lists of everything (metapackages); they say little about any two of them."""

MIN_WEIGHT = 0.005
"""Weaker edges are left out: they could only order the far end of a list."""

Edge = tuple[str, str, float]


@dataclass(frozen=True)
class SeeAlsoSet:
    """One folder in the LF layout: label uids by line, targets by document uid, and the test groups' packages."""

    label_uids: tuple[str, ...]
    train_targets: dict[str, tuple[str, ...]]
    test_targets: dict[str, tuple[str, ...]]
    test_group_uids: frozenset[str]


@dataclass(frozen=True)
class Knowledge:
    """The edges, sorted, with the uids of the documents they come from."""

    document_uids: tuple[str, ...]
    edges: tuple[Edge, ...]


def read_see_also(folder: Path) -> SeeAlsoSet:
    """The folder's labels, documents and test groups: test documents and the packages of their sources."""
    labels = tuple(row["uid"] for row in _json_lines(folder / "lbl.json.gz"))
    train = _read_targets(folder / "trn.json.gz", labels)
    test = _read_targets(folder / "tst.json.gz", labels)
    with gzip.open(folder / "filter_labels_tst.txt.gz", "rt", encoding="utf-8") as file:
        same_source = {labels[int(line.split()[1])] for line in file}
    return SeeAlsoSet(labels, train, test, frozenset(test) | same_source)


def _json_lines(path: Path) -> Iterable[dict[str, Any]]:  # JSON: each key has its own type
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _read_targets(path: Path, labels: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {row["uid"]: tuple(labels[i] for i in row["target_ind"]) for row in _json_lines(path)}


def relate_labels(full: SeeAlsoSet, sample: SeeAlsoSet) -> Knowledge:
    """Edges among the sample's labels: the cosine of their memberships in unused training documents.

    A document is a group: its own package and its targets. Each of its n targets and the package get the weight
    1/n in it, so a long list relates its members weakly. A document's relation to a package of a test group is left out.

    Source: the weight is Newman's 1/(members - 1) for co-authorship, Phys. Rev. E 64, 016132 (2001), section III.
    """
    used = usable_documents(full, sample)
    known, test_groups = set(sample.label_uids), full.test_group_uids | sample.test_group_uids
    norms: dict[str, float] = defaultdict(float)
    common: dict[tuple[str, str], float] = defaultdict(float)
    sources = set()
    for uid, targets in used.items():
        weight = 1.0 / len(targets)
        for member in {uid, *targets} & known:
            norms[member] += weight
        for pair in _pairs(uid, targets, known, test_groups):
            common[pair] += weight
            sources.add(uid)
    weighted = ((a, b, round(weight / math.sqrt(norms[a] * norms[b]), 3)) for (a, b), weight in common.items())
    return Knowledge(tuple(sorted(sources)), tuple(sorted(edge for edge in weighted if edge[2] >= MIN_WEIGHT)))


def usable_documents(full: SeeAlsoSet, sample: SeeAlsoSet) -> dict[str, tuple[str, ...]]:
    """Targets of the full set's training documents that are in neither the sample nor a test group, nor too long."""
    excluded = {*full.test_group_uids, *sample.test_group_uids, *sample.train_targets, *sample.test_targets}
    return {
        uid: targets for uid, targets in full.train_targets.items() if uid not in excluded and 1 <= len(targets) <= MAX_TARGETS
    }


def _pairs(uid: str, targets: tuple[str, ...], known: set[str], test_groups: frozenset[str]) -> list[tuple[str, str]]:
    together = list(combinations(sorted(set(targets) & known), 2))
    direct = [(min(uid, t), max(uid, t)) for t in targets if uid in known and t in known and t not in test_groups]
    return together + direct


def write_knowledge(knowledge: Knowledge, source: str, path: Path) -> None:
    """Write the knowledge as compressed JSON that depends on nothing but the knowledge."""
    content = {"source": source, "documents": knowledge.document_uids, "edges": knowledge.edges}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(text.encode())


def make_knowledge(full_dir: Path, sample_dir: Path, path: Path) -> Knowledge:
    """Build the sample's knowledge file from both folders and write it to `path`."""
    knowledge = relate_labels(read_see_also(full_dir), read_see_also(sample_dir))
    source = f"relations among packages in training documents of {full_dir.name} outside the sample and all test groups"
    write_knowledge(knowledge, source, path)
    return knowledge


def main() -> None:
    """Run from the command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if len(sys.argv) != 4:
        sys.exit("usage: python -m samples.make_knowledge FULL_DIR SAMPLE_DIR OUT")
    full_dir, sample_dir, path = (Path(argument) for argument in sys.argv[1:])
    knowledge = make_knowledge(full_dir, sample_dir, path)
    logger.info("%s: %d edges from %d documents", path, len(knowledge.edges), len(knowledge.document_uids))


if __name__ == "__main__":
    main()
