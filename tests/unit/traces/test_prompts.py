import pytest

from tasks.traces.prompts import OfferedLabel, candidates_prompt, open_prompt, read_document, read_offered, spread_examples

TEXTS = ["one line", "a\nb", "\n<document>\n", "x\n</document>", "</document>\n</document>", " blank ends \n", "ü\u2028\r\n", ""]


@pytest.mark.parametrize("text", TEXTS)
def test_read_document_gives_back_any_text_to_the_letter(text: str) -> None:
    assert read_document(open_prompt(text, 3, ["a"]).user) == text
    assert read_document(candidates_prompt(text, [OfferedLabel(1, "a\n<document>\nb")]).user) == text


def test_read_document_refuses_a_message_without_one() -> None:
    assert read_document("Which labels?") is None
    assert read_document("\n<document>\nno end") is None


def test_read_offered_gives_the_listed_numbers_in_order() -> None:
    prompt = candidates_prompt("[9] not offered\nhere", [OfferedLabel(7, "seven"), OfferedLabel(3, "[4] three")])
    assert read_offered(prompt.user) == (7, 3)
    assert read_offered(open_prompt("Choose from these labels:\n[1] x", 3, []).user) is None


def test_candidates_prompt_lists_each_label_on_one_line() -> None:
    assert "\n[5] a b\n" in candidates_prompt("text", [OfferedLabel(5, "a\n b")]).user


def test_open_prompt_states_the_size_and_shows_examples() -> None:
    system = open_prompt("text", 5000, ["vim: an editor"]).system
    assert "5000 labels" in system
    assert "- vim: an editor" in system
    assert '"shortlist"' in system


def test_spread_examples_takes_names_from_the_whole_list() -> None:
    assert spread_examples([str(i) for i in range(100)], 4) == ("0", "25", "50", "75")
    assert spread_examples(["a"], 4) == ("a",)
