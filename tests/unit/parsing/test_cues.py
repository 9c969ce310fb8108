import pytest

from tasks.parsing.cues import ANSWER_HEADING, REFUSAL, cue_text, judgements, lowered, named_verdict


def last_verdict(text: str) -> str | None:
    found = judgements(cue_text(lowered(text)), 0, len(text))
    return found[-1].verdict if found else None


@pytest.mark.parametrize(
    "text",
    [
        "So I keep it.",
        "That one stays.",
        "No reason to drop it.",
        "I can't rule it out.",
        "It belongs here, include it.",
        "Definitely relevant.",
        "This is a good match.",
        "I’ll pick this one.",
    ],
)
def test_judgements_keep(text: str) -> None:
    assert last_verdict(text) == "keep"


@pytest.mark.parametrize(
    "text",
    [
        "Drop it.",
        "I don't want to keep this.",
        "It fits somewhat, but I leave it out.",
        "It should not be included.",
        "Not relevant here.",
        "Too generic.",
        "Nothing speaks for it.",
        "The words point elsewhere.",
        "That can be ruled out.",
        "It's unrelated to the topic.",
    ],
)
def test_judgements_drop(text: str) -> None:
    assert last_verdict(text) == "drop"


@pytest.mark.parametrize("text", ["The document is about editors.", "What else is there?", ""])
def test_judgements_of_a_plain_statement_are_none(text: str) -> None:
    assert last_verdict(text) is None


def test_judgements_of_a_decision_outweigh_those_of_an_opinion() -> None:
    assert last_verdict("Keep it, although it is not a perfect match.") == "keep"


@pytest.mark.parametrize(
    ("word", "verdict"),
    [
        ("keep", "keep"),
        ("Drop", "drop"),
        ("compare", "compare"),
        ("YES", "keep"),
        ("False", "drop"),
        ("rejected", "drop"),
        ("?", "none"),
    ],
)
def test_named_verdict_reads_the_words_models_use(word: str, verdict: str) -> None:
    assert named_verdict(word) == verdict


@pytest.mark.parametrize(
    "text", ["Final answer: vim", "**Final labels:**", "So the answer is: vim", "## Answer", "My final selection:"]
)
def test_answer_heading_is_found(text: str) -> None:
    assert ANSWER_HEADING.search(lowered(text))


@pytest.mark.parametrize("text", ["The labels I found are many.", "I answer questions: yes", "A list of things"])
def test_answer_heading_is_not_a_sentence_about_answers(text: str) -> None:
    assert not ANSWER_HEADING.search(lowered(text))


def test_refusal_is_recognised_in_both_apostrophes() -> None:
    assert REFUSAL.search(lowered("I’m sorry, but I can’t help with that."))
    assert not REFUSAL.search(lowered("I keep vim."))


def test_lowered_keeps_the_length() -> None:
    assert len(lowered("İstanbul’s ẞ")) == len("İstanbul’s ẞ")
