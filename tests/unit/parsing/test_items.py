import pytest

from tasks.parsing.items import Item, answer_mentions, item_mention, list_items, separated
from tasks.parsing.names import Catalogue
from tasks.parsing.spans import Taken
from tests.unit.parsing.catalogue import ID, NAME, small_catalogue

CATALOGUE = small_catalogue()
BOOKS = Catalogue([0, 1], ["a", "b"], ["Alien", "Alien 3"])


def named(line: str, catalogue: Catalogue = CATALOGUE) -> tuple[str, int | None] | None:
    mention = item_mention(line, "completion_text", Item(0, len(line), True), catalogue, False)
    return (mention.text, mention.link.label_id if mention.link else None) if mention else None


@pytest.mark.parametrize(
    "line", ["vim", '"vim"', "**vim**", "`vim`", "**vim:** an editor it needs", "vim - an editor", "vim (an editor)"]
)
def test_item_mention_finds_the_label_in_its_dress(line: str) -> None:
    assert named(line) == ("vim", ID["vim"])


@pytest.mark.parametrize("line", ["vim: because it is an editor", "vim: obviously relevant", "vim: not needed"])
def test_item_mention_takes_a_remark_after_a_colon_as_a_remark(line: str) -> None:
    assert named(line) == ("vim", ID["vim"])


def test_item_mention_takes_another_tail_for_another_label() -> None:
    assert named("vim: river in the north") == ("vim: river in the north", None)
    assert named("Alien: river in the north", BOOKS) == ("Alien", 0)


def test_item_mention_of_a_sentence_is_none() -> None:
    assert named("There is nothing in this text that I could use.") is None


def test_list_items_drop_bullets_rules_and_fences() -> None:
    text = "```\n- a\n* b,\n 3. c\n(d) d\n---\n\n• e\n</answer>\n"
    assert [(text[item.start : item.end], item.has_bullet) for item in list_items(text, 0, len(text))] == [
        (letter, True) for letter in "abcde"
    ]


@pytest.mark.parametrize(
    ("line", "score"),
    [("vim (0.9)", 0.9), ("vim: 0.85", 0.85), ("vim — confidence 70%", 0.7), ("vim 1.0", 1.0), ("vim", None), ("vim (7)", None)],
)
def test_answer_mentions_read_a_stated_confidence(line: str, score: float | None) -> None:
    [mention] = answer_mentions(line, "completion_text", 0, len(line), CATALOGUE, False)
    assert mention.score == score


def test_answer_mentions_keep_numbers_that_belong_to_the_name() -> None:
    catalogue = Catalogue([0], ["x"], ["libvisual 0.4"])
    [mention] = answer_mentions("Libvisual 0.4", "completion_text", 0, 13, catalogue, False)
    assert (mention.text, mention.score) == ("Libvisual 0.4", None)


def test_separated_does_not_cut_a_name_at_its_comma() -> None:
    text = f"{NAME['git']}, vim and sox."
    names = Taken(0, len(text), [(0, len(NAME["git"]))])
    assert [text[start:end] for start, end in separated(text, 0, len(text), names)] == [NAME["git"], "vim", "sox"]


def test_taken_tells_touched_from_covered() -> None:
    taken = Taken(10, 20, [(12, 15)])
    assert taken.touches(14, 18)
    assert not taken.touches(15, 18)
    assert taken.covers(12, 15)
    assert not taken.covers(12, 16)
