import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.labels.search import LabelIndex, Vectors
from tasks.parsing.drafts import UNLINKED, Link
from tasks.parsing.linking import FuzzyNames, MentionLinker, NearestLabels, Thresholds, is_description
from tasks.parsing.names import Catalogue
from tests.unit.parsing.catalogue import ID, LABELS, small_catalogue


class Embedder:
    """Every text is near label 5, by the cosine it was made with; counts what it embeds."""

    def __init__(self, cosine: float, next_cosine: float) -> None:
        self.row = np.zeros(len(LABELS), np.float32)
        self.row[5:7] = cosine, next_cosine
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.seen += texts
        return np.tile(self.row, (len(texts), 1))


def linker(cosine: float = 0.0, next_cosine: float = 0.0) -> tuple[MentionLinker, Embedder]:
    embedder = Embedder(cosine, next_cosine)
    index = LabelIndex(np.arange(len(LABELS), dtype=np.int32), np.eye(len(LABELS), dtype=np.float32))
    return MentionLinker(small_catalogue(), NearestLabels(embedder, index), Thresholds(0.8, 0.8, 0.15)), embedder


def catalogue_of(*names: str) -> Catalogue:
    return Catalogue(range(len(names)), names, names)


def nearest(text: str, *names: str) -> str | None:
    link = FuzzyNames(catalogue_of(*names)).link(text, 0.8)
    return None if link is None or link.label_id is None else names[link.label_id]


def test_link_tries_every_rung_in_order() -> None:
    ladder, _ = linker(cosine=0.85)
    texts = ["[2]", "vim", "VIM", "the vim package", "vimm: Vi IMproved - enhanced vi editor", "something else entirely"]
    methods = [link.method for link in ladder.link(texts, takes_ids=True).values()]
    assert methods == ["id", "exact", "normalised", "normalised", "fuzzy", "vector"]


def test_link_scores_lie_in_0_to_1_and_say_how_close_the_rung_came() -> None:
    ladder, _ = linker(cosine=0.85)
    fuzzy, vector = ladder.link(["audacitty", "something else entirely"]).values()
    assert fuzzy == Link(ID["audacity"], "fuzzy", 1 - 1 / 9)
    assert (vector.label_id, vector.method) == (5, "vector")
    assert vector.score == pytest.approx(0.85)


@pytest.mark.parametrize(("cosine", "next_cosine"), [(0.79, 0.0), (0.85, 0.71)])
def test_link_below_a_threshold_or_beside_a_twin_is_unlinked(cosine: float, next_cosine: float) -> None:
    ladder, embedder = linker(cosine, next_cosine)
    assert ladder.link(["something else entirely"]) == {"something else entirely": UNLINKED}
    assert embedder.seen == ["something else entirely"]


def test_link_by_vector_needs_the_numbers_of_the_text_in_the_name() -> None:
    ladder, _ = linker(cosine=0.9)
    assert ladder.link(["something else of 1999"]) == {"something else of 1999": UNLINKED}


def test_link_embeds_each_description_once_and_no_name() -> None:
    ladder, embedder = linker(cosine=0.85)
    for _ in range(2):
        ladder.link(["nowhere", "nowhere", "Mercury", "vim", "???", "vim-nowhere", "vim: a river in the far north"])
    assert embedder.seen == ["nowhere"]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("an editor of texts", True), ("editors", True), ("vim-gtk", False), ("vim3", False), ("vim: an editor", False)],
)
def test_is_description_tells_words_from_names(text: str, is_one: bool) -> None:
    assert is_description(text) is is_one


def test_linker_survives_pickling_after_use() -> None:
    catalogue = small_catalogue()
    names = FuzzyNames(catalogue)
    assert pickle.loads(pickle.dumps(names)).link("audacitty", 0.8) == names.link("audacitty", 0.8)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("kdenlvie", "kdenlive: non-linear video editor"),
        ("kdenlvie: non-linear video editor", "kdenlive: non-linear video editor"),
        ("kdenlive: nonlinear vid. edtor", "kdenlive: non-linear video editor"),
        ("video editor, non-linear (kdenlvie)", "kdenlive: non-linear video editor"),
        ("non-linear video editors", "kdenlive: non-linear video editor"),
        ("Cook ing", "Cooking"),
    ],
)
def test_fuzzy_names_take_edits_that_keep_the_name(text: str, name: str) -> None:
    assert nearest(text, "kdenlive: non-linear video editor", "gimp: image manipulation program", "Cooking") == name


@pytest.mark.parametrize(
    "text",
    [
        "libfoo2: bar baz qux",
        "libfoo1-data: bar baz qux",
        "libfoo1: entirely other things",
        "libgimp1",
        "bar baz qux of another kind",
        "libbar",
    ],
)
def test_fuzzy_names_do_not_bridge_numbers_or_foreign_words(text: str) -> None:
    assert nearest(text, "libfoo1: bar baz qux", "gimp-data: images", "libgimp4: library") is None


def test_fuzzy_names_do_not_take_another_word_of_the_catalogue_for_a_mistyped_one() -> None:
    assert nearest("tool-rest", "tool-test: one", "other: two") == "tool-test: one"
    assert nearest("tool-rest", "tool-test: one", "other: rest") is None


def test_fuzzy_names_need_one_best_name() -> None:
    assert nearest("abcdefghijk on", "abcdefghijk one", "abcdefghijk ona") is None
    assert nearest("abcdefghijk onee", "abcdefghijk one", "abcdefghijk ona") == "abcdefghijk one"


def test_fuzzy_names_do_not_read_joined_words_as_a_description() -> None:
    names = ("guile-3.0-doc: Documentation for Guile 3.0", "works-with: image")
    assert nearest("for Guile 3.0, documentation", *names) == names[0]
    assert nearest("guile-3.0", *names) is None
    assert nearest("workswith-image", *names) == names[1]


def test_fuzzy_names_leave_a_shared_part_alone() -> None:
    names = ("works-with: image", "works-with: audio", "edits: audio")
    assert nearest("wroks-with", *names) is None
    assert nearest("audoi", *names) is None
    assert nearest("wroks-with: audoi", *names) == "works-with: audio"


def test_link_of_a_number_that_was_not_offered_does_not_guess() -> None:
    ladder, _ = linker(cosine=0.85)
    links = ladder.link(["[77]", "77", "[77] vim"], takes_ids=True)
    assert links == {"[77]": UNLINKED, "77": UNLINKED, "[77] vim": Link(ID["vim"], "exact", 1.0)}


ODD_TEXT = st.text(st.sampled_from("ab1 :-_,\"'()\n\t\u200b\u200f\u202eאבéß漢＃."), min_size=1, max_size=14)


@given(st.lists(ODD_TEXT, min_size=1, max_size=8, unique_by=str.strip), ODD_TEXT)
def test_link_of_any_text_is_a_label_or_none_and_every_name_is_its_own(names: list[str], text: str) -> None:
    labels = LabelIndex(np.arange(len(names), dtype=np.int32), np.eye(len(names), dtype=np.float32))
    nowhere = NearestLabels(lambda texts: np.zeros((len(texts), len(names)), np.float32), labels)
    ladder = MentionLinker(
        Catalogue(range(len(names)), [f"uid-{i}" for i in range(len(names))], names), nowhere, Thresholds(0.8, 0.8, 0.1)
    )
    links = ladder.link([text, *names])
    assert links[text].label_id in {None, *range(len(names))}
    for label_id, name in enumerate(names):
        assert links[name].label_id in ({label_id} if name == name.strip() != "" else {label_id, None})
