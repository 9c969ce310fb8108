import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.parsing.drafts import UNLINKED, Link
from tasks.parsing.names import Catalogue, normalise
from tests.unit.parsing.catalogue import ID, NAME, small_catalogue


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("  Vi-IMproved: enhanced  ", "vi improved enhanced"),
        ("C++", "c++"),
        ("C#", "c#"),
        ("ＶＩＭ", "vim"),
        ("Straße", "strasse"),
        ("snake_case.name", "snake case name"),
        ("!!!", ""),
    ],
)
def test_normalise_folds_case_form_and_punctuation(text: str, key: str) -> None:
    assert normalise(text) == key


@pytest.mark.parametrize("text", ["Ünïcode — ＴＥＸＴ", "ß ẞ ŉ ﬁ", "Ⅷ ½ ℡"])
def test_normalise_of_normalised_text_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("text", "uid", "method"),
    [
        (NAME["vim"], "vim", "exact"),
        ("vim", "vim", "exact"),
        ("VIM", "vim", "normalised"),
        ("“vim: vi improved — enhanced vi editor”", "vim", "normalised"),
        ("works_with::Image", "works-with::image", "normalised"),
        ("vim: Vi IMproved", "vim", "normalised"),
    ],
)
def test_lookup_takes_the_first_rung_that_knows_the_text(text: str, uid: str, method: str) -> None:
    link = small_catalogue().lookup(text)
    assert link is not None
    assert (link.label_id, link.method) == (ID[uid], method)


@pytest.mark.parametrize("text", ["Mercury", "mercury", "works-with"])
def test_lookup_of_an_ambiguous_name_does_not_guess(text: str) -> None:
    assert small_catalogue().lookup(text) == UNLINKED


def test_lookup_takes_a_name_with_white_space_around_or_marks_alone() -> None:
    catalogue = Catalogue(range(3), ["u1", "u2", "u3"], ["  spaced ", ": ", "???"])
    assert [catalogue.lookup(text) for text in ("spaced", ": ", "???")] == [Link(i, "exact", 1.0) for i in range(3)]


def test_lookup_does_not_take_a_head_with_a_foreign_rest() -> None:
    assert small_catalogue().lookup("vim: a river in the north of nowhere") is None


@pytest.mark.parametrize(
    ("text", "uid"),
    [
        ("pager program similar to more", "less"),
        ("terminal multiplexer with VT100/ANSI terminal emulation (screen)", "screen"),
        ("audio - works-with", "works-with::audio"),
        ("the vim package", "vim"),
        ("maybe the Vim", "vim"),
        ("works-with: audio (recommended)", "works-with::audio"),
        ("git, latest version", "git"),
    ],
)
def test_lookup_loosely_takes_a_tail_either_order_and_wrapped_names(text: str, uid: str) -> None:
    assert small_catalogue().lookup(text) is None
    assert small_catalogue().lookup_loosely(text) == Link(ID[uid], "normalised", 0.95)


@pytest.mark.parametrize("text", ["the", "the package", "a river", "the river package", "vim rivers", "", "???"])
def test_lookup_loosely_knows_no_other_words(text: str) -> None:
    assert small_catalogue().lookup_loosely(text) is None


def test_lookup_loosely_of_a_part_that_labels_share_does_not_guess() -> None:
    catalogue = Catalogue(range(3), ["a", "b", "c"], ["one: shared words", "two: shared words", "one: other words"])
    for text in ("shared words", "the one", "one (recommended)"):
        assert catalogue.lookup_loosely(text) == UNLINKED
    assert catalogue.lookup_loosely("shared words (two)") == Link(1, "normalised", 0.95)


def test_lookup_of_a_cut_name_counts_rare_words_more() -> None:
    names = [f"lib{i}: thing {i} - Rust source code" for i in range(20)]
    catalogue = Catalogue(range(20), names, names)
    assert catalogue.lookup("lib3: thing 3 - Rust") == Link(3, "normalised", 0.95)
    assert catalogue.lookup("lib3: river 7 - Rust source code") is None


def test_parts_of_tells_parts_that_labels_share() -> None:
    catalogue = Catalogue(range(3), ["a", "b", "c"], ["One: a b", "Two: a b", "three"])
    assert catalogue.parts_of(0) == (("one",), ("a", "b"), True, False)
    assert catalogue.parts_of(2) == (("three",), (), True, False)


def test_rarity_falls_with_use_and_stays_above_0() -> None:
    catalogue = Catalogue(range(3), ["u1", "u2", "u3"], ["a b", "a c", "a d"])
    assert catalogue.rarity("x") > catalogue.rarity("b") > catalogue.rarity("a") > 0
    assert catalogue.is_word("b")
    assert not catalogue.is_word("x")


ODD_NAME = st.text(st.sampled_from("ab1 :,-\"'(\n\u200b\u200f\u202eאبß漢"), min_size=1, max_size=12)


@given(st.lists(ODD_NAME, min_size=1, max_size=8, unique_by=str.strip), ODD_NAME)
def test_lookups_find_every_exact_name_and_no_ambiguous_one(names: list[str], text: str) -> None:
    catalogue = Catalogue(range(len(names)), [f"uid {i}" for i in range(len(names))], names)
    keys = [normalise(name) for name in names]
    for label_id, (name, key) in enumerate(zip(names, keys, strict=True)):
        link = catalogue.lookup(name)
        if name == name.strip():
            assert link == Link(label_id, "exact", 1.0)
        assert not key or (link is not None and link.label_id in (label_id, None))
        spelt_otherwise = catalogue.lookup(f"«{key}»")
        assert keys.count(key) == 1 or not key or spelt_otherwise == UNLINKED
    found = catalogue.lookup_loosely(text)
    assert found is None or found == UNLINKED or normalise(text)


def test_lookup_takes_numbers_only_where_labels_had_numbers() -> None:
    catalogue = small_catalogue()
    assert catalogue.lookup("[3] less", takes_ids=True) == Link(3, "id", 1.0)
    assert catalogue.lookup("3", takes_ids=True) == Link(3, "id", 1.0)
    assert catalogue.lookup("[3]") is None
    assert catalogue.lookup("[999]", takes_ids=True) == UNLINKED


def test_lookup_of_a_number_that_is_a_name() -> None:
    catalogue = Catalogue([0, 1], ["a", "b"], ["2001", "other"])
    assert catalogue.lookup("2001", takes_ids=True) == Link(0, "exact", 1.0)


def test_find_names_takes_the_longest_and_keeps_joined_words_whole() -> None:
    catalogue = small_catalogue()
    text = f"I weigh {NAME['vim']} and vim-gtk3, not vim-like tools or neovim; git."
    found = [(text[start:end], label_id) for start, end, label_id in catalogue.find_names(text, 0, len(text))]
    assert found == [(NAME["vim"], ID["vim"]), ("vim-gtk3", ID["vim-gtk3"]), ("git", ID["git"])]


def test_find_names_covers_closing_punctuation_of_a_name() -> None:
    text = f"so {NAME['emacs']} stays"
    [(start, end, _)] = small_catalogue().find_names(text, 0, len(text))
    assert text[start:end] == NAME["emacs"]


def test_is_plain_name_refuses_everyday_words_and_other_spellings() -> None:
    catalogue = small_catalogue()
    assert catalogue.is_plain_name("vim", ID["vim"])
    assert not catalogue.is_plain_name("Vim", ID["vim"])
    assert not catalogue.is_plain_name("less", ID["less"])


def test_is_plain_name_refuses_words_that_many_labels_use() -> None:
    names = ["editor", *(f"thing {i} editor" for i in range(9))]
    assert not Catalogue(range(10), names, names).is_plain_name("editor", 0)
    assert Catalogue(range(2), ["editor", "x"], ["editor", "x"]).is_plain_name("editor", 0)
