"""The shipped sample: its files fit each other, and its knowledge touches no test group."""

import gzip
import json
from functools import cache
from pathlib import Path

import pytest

import samples
from samples.make_knowledge import Knowledge, SeeAlsoSet, make_knowledge, read_see_also

SAMPLE = Path(samples.__file__).parent / "debian_seealso_small"
FULL = Path(samples.__file__).parents[2] / "shared" / "data" / "debian-seealso"
needs_full_set = pytest.mark.skipif(not FULL.exists(), reason="the full set debian-seealso is not on this machine")


def _content(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read()


@cache
def _sample() -> SeeAlsoSet:
    return read_see_also(SAMPLE)


@cache
def _shipped() -> Knowledge:
    content = json.loads(_content(SAMPLE / "knowledge.json.gz"))
    return Knowledge(tuple(content["documents"]), tuple((a, b, w) for a, b, w in content["edges"]))


def test_sample_has_the_documented_size() -> None:
    sample = _sample()
    assert (len(sample.train_targets), len(sample.test_targets), len(sample.label_uids)) == (2000, 500, 5000)


def test_knowledge_uses_no_document_of_the_sample_or_its_test_groups() -> None:
    used, sample = set(_shipped().document_uids), _sample()
    assert len(used) > 3000
    assert not used & {*sample.train_targets, *sample.test_targets}
    assert not used & sample.test_group_uids


def test_knowledge_edges_join_two_labels_of_the_sample_once_with_a_weight() -> None:
    edges, labels = _shipped().edges, set(_sample().label_uids)
    assert len(edges) > 15_000
    assert all(a in labels and b in labels and a < b and 0 < weight <= 1 for a, b, weight in edges)
    assert len({(a, b) for a, b, _ in edges}) == len(edges)


def test_knowledge_covers_most_train_targets() -> None:
    related = {uid for a, b, _ in _shipped().edges for uid in (a, b)}
    targets = [t for found in _sample().train_targets.values() for t in found]
    assert sum(t in related for t in targets) / len(targets) > 0.7


@needs_full_set
def test_knowledge_uses_no_test_group_of_the_full_set() -> None:
    full, used = read_see_also(FULL), set(_shipped().document_uids)
    assert used <= set(full.train_targets)
    assert not used & full.test_group_uids


@needs_full_set
def test_knowledge_edges_of_a_test_group_package_come_from_third_packages() -> None:
    full, edges = read_see_also(FULL), _shipped().edges
    used = set(_shipped().document_uids)
    tested = full.test_group_uids | _sample().test_group_uids
    together = {(a, b) for uid in used for a in full.train_targets[uid] for b in full.train_targets[uid] if a < b}
    touching = [(a, b) for a, b, _ in edges if a in tested or b in tested]
    assert touching
    assert set(touching) <= together


@needs_full_set
def test_make_knowledge_gives_the_shipped_bytes(tmp_path: Path) -> None:
    make_knowledge(FULL, SAMPLE, tmp_path / "a.json.gz")
    make_knowledge(FULL, SAMPLE, tmp_path / "b.json.gz")
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    assert _content(tmp_path / "a.json.gz") == _content(SAMPLE / "knowledge.json.gz")
