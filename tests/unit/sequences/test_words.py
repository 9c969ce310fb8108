"""Words keep their places in any script; names are found whole or short."""

import pytest

from tasks.sequences.words import find_words, fold, is_content, name_forms, places_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Cloud-init, on IaaS!", ["cloud", "init", "on", "iaas"]),
        ("snake_case", ["snake", "case"]),
        ("\ufb01le \uff21\uff22\uff23", ["file", "abc"]),
        ("cafe\u0301 \U0001f600 caf\u00e9", ["caf\u00e9", "caf\u00e9"]),
        ("zero\u200bwidth", ["zero", "width"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u0b95\u0bbe", ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u0b95\u0bbe"]),
        ("", []),
    ],
)
def test_find_words_folds_and_splits(text: str, words: list[str]) -> None:
    assert [word.text for word in find_words(text)] == words


def test_find_words_says_where_each_stands_in_the_text_as_written() -> None:
    text = "\U0001f600 \ufb01le, CAFE\u0301"
    assert [text[word.start : word.end] for word in find_words(text)] == ["\ufb01le", "CAFE\u0301"]


def test_fold_brings_in_no_white_space() -> None:
    assert not any(char.isspace() for char in fold("\ufdfa"))


@pytest.mark.parametrize(("word", "is_one"), [("python", True), ("vi", False), ("the", False), ("label", False), ("2024", False)])
def test_is_content_leaves_out_short_words_stop_words_and_numbers(word: str, is_one: bool) -> None:
    assert is_content(word) is is_one


def test_places_of_does_not_overlap() -> None:
    assert places_of(["a", "a"], find_words("a a a a a")) == [0, 2]
    assert places_of([], find_words("a")) == []


def test_name_forms_are_the_whole_name_and_what_stands_before_its_description() -> None:
    assert name_forms("vim-gtk: an editor") == [["vim", "gtk", "an", "editor"], ["vim", "gtk"]]
    assert name_forms("sudo - limited rights") == [["sudo", "limited", "rights"], ["sudo"]]
    assert name_forms("works with: image (raster)") == [["works", "with", "image", "raster"], ["works", "with"]]
    assert name_forms("vim") == [["vim"]]
    assert name_forms("!!!") == []
