import pytest

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


def test_lookup_does_not_take_a_head_with_a_foreign_rest() -> None:
    assert small_catalogue().lookup("vim: a river in the north of nowhere") is None


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
