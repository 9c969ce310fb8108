from collections.abc import Sequence

import numpy as np
import pytest
from rapidfuzz import fuzz

from tasks.labels.search import LabelIndex, Vectors
from tasks.parsing.drafts import UNLINKED, Link
from tasks.parsing.linking import FuzzyNames, MentionLinker, NearestLabels
from tasks.parsing.names import normalise
from tests.unit.parsing.catalogue import ID, LABELS, NAME, small_catalogue


class Embedder:
    """Every text is near label 5, by the cosine it was made with; counts what it embeds."""

    def __init__(self, cosine: float) -> None:
        self.cosine = cosine
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.seen += texts
        row = np.zeros(len(LABELS), np.float32)
        row[5] = self.cosine
        row[6] = np.sqrt(1 - self.cosine**2) * 0.9
        return np.tile(row, (len(texts), 1))


def linker(cosine: float = 0.0) -> tuple[MentionLinker, Embedder]:
    embedder = Embedder(cosine)
    index = LabelIndex(np.arange(len(LABELS), dtype=np.int32), np.eye(len(LABELS), dtype=np.float32))
    return MentionLinker(small_catalogue(), NearestLabels(embedder, index), 0.9, 0.8), embedder


def test_link_tries_every_rung_in_order() -> None:
    ladder, _ = linker(cosine=0.85)
    texts = ["[2]", "vim", "VIM", "vimm: Vi IMproved - enhanced vi editor", "something else entirely"]
    methods = [link.method for link in ladder.link(texts, takes_ids=True).values()]
    assert methods == ["id", "exact", "normalised", "fuzzy", "vector"]


def test_link_scores_lie_in_0_to_1_and_say_how_close_the_rung_came() -> None:
    ladder, _ = linker(cosine=0.85)
    links = ladder.link(["vimm: Vi IMproved - enhanced vi editor", "something else entirely"])
    fuzzy, vector = links.values()
    assert fuzzy.score == pytest.approx(
        fuzz.ratio(normalise("vimm: Vi IMproved - enhanced vi editor"), normalise(NAME["vim"])) / 100
    )
    assert (vector.label_id, vector.method) == (5, "vector")
    assert vector.score == pytest.approx(0.85)


def test_link_below_every_threshold_is_unlinked() -> None:
    ladder, _ = linker(cosine=0.79)
    assert ladder.link(["something else entirely"]) == {"something else entirely": UNLINKED}


def test_link_embeds_each_text_once_and_no_ambiguous_name() -> None:
    ladder, embedder = linker(cosine=0.85)
    for _ in range(2):
        ladder.link(["nowhere", "nowhere", "Mercury", "vim", "???"])
    assert embedder.seen == ["nowhere"]


def test_fuzzy_names_need_one_best_name() -> None:
    names = FuzzyNames({"abcdefghijk one": 0, "abcdefghijk ona": 1})
    assert names.link(["abcdefghijk on"], 0.9) == {}
    assert names.link(["abcdefghijk onee"], 0.9)["abcdefghijk onee"].label_id == 0


@pytest.mark.parametrize("text", ["libfoo bar baz qux 2", "libfoo bar baz qux dev"])
def test_fuzzy_names_do_not_bridge_numbers_or_foreign_words(text: str) -> None:
    names = FuzzyNames({"libfoo bar baz qux 1": 0, "libfoo bar baz qux doc": 1})
    assert fuzz.ratio(text, "libfoo bar baz qux 1") > 85
    assert names.link([text], 0.85) == {}


def test_fuzzy_names_miss_no_name_that_a_full_comparison_finds() -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), size=n)) for n in rng.integers(3, 9, size=60)]
    names = {" ".join(rng.choice(words, size=n)): i for i, n in enumerate(rng.integers(1, 5, size=200).tolist())}
    fuzzy = FuzzyNames(names)
    texts = [name[:at] + change + name[at + 1 :] for name in names for at, change in ((len(name) // 2, "x"), (len(name) - 1, ""))]
    links = fuzzy.link(texts, 0.8)
    for text in texts:
        key = normalise(text)
        near = [(fuzz.ratio(key, name), label) for name, label in names.items() if fuzz.ratio(key, name) >= 80]
        if links.get(text) is not None:
            assert links[text].label_id == max(near)[1]
        elif len(near) == 1:
            best = next(name for name, label in names.items() if label == near[0][1])
            assert any(max(fuzz.ratio(word, other) for other in best.split()) < 60 for word in key.split())


def test_link_of_a_number_that_was_not_offered_does_not_guess() -> None:
    ladder, _ = linker(cosine=0.85)
    links = ladder.link(["[77]", "77", "[77] vim"], takes_ids=True)
    assert links == {"[77]": UNLINKED, "77": UNLINKED, "[77] vim": Link(ID["vim"], "exact", 1.0)}
