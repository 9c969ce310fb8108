import json

import pytest

from tasks.parsing.thinking import Parts, split_content

ANSWER = json.dumps({"shortlist": ["vim"], "steps": ["the text says </think>"], "answer": ["vim"]})
TAGGED = "<shortlist>vim</shortlist><reasoning>it says </think> and <step>b</step></reasoning><answer>vim</answer>"


def texts(content: str, reasoning: str = "") -> tuple[str | None, str]:
    parts = split_content(content, reasoning)
    source = {"completion_text": content, "reasoning_text": reasoning}[parts.source]
    return source[slice(*parts.reasoning)] if parts.reasoning else None, content[slice(*parts.content)]


def test_split_content_prefers_the_reasoning_column_and_leaves_the_block_out() -> None:
    content = "<think>inner</think>\nrest"
    parts = split_content(content, " outer ")
    assert (parts.source, parts.reasoning, content[slice(*parts.content)]) == ("reasoning_text", (1, 6), "rest")


@pytest.mark.parametrize("content", ["<think>inner</think> rest", "inner</think> rest", "<thinking>inner</thinking> rest"])
def test_split_content_finds_blocks_with_missing_tags(content: str) -> None:
    parts = split_content(content, "")
    assert parts.reasoning is not None
    assert (content[slice(*parts.reasoning)], content[slice(*parts.content)]) == ("inner", "rest")


@pytest.mark.parametrize("answer", [ANSWER, TAGGED])
def test_split_content_knows_a_tag_that_the_answer_quotes(answer: str) -> None:
    assert texts(answer) == (None, answer)
    assert texts(f"<think>inner</think>\n{answer}") == ("inner", answer)
    assert texts(f"inner</think>\n{answer}") == ("inner", answer)
    assert texts(answer, "outer") == ("outer", answer)


def test_split_content_takes_the_last_tag_that_ends_thinking() -> None:
    draft = '{"answer": ["nano"]}'
    assert texts(f"<think>it says </think>, so {draft}</think>{ANSWER}") == (f"it says </think>, so {draft}", ANSWER)
    assert texts("<think>a</think>b</think>vim") == ("a</think>b", "vim")


def test_split_content_takes_a_whole_content_beside_a_reasoning_column() -> None:
    assert split_content("It says </think> here. vim", "outer") == Parts("reasoning_text", (0, 5), (0, 26))


def test_split_content_of_an_open_block_is_all_thinking() -> None:
    assert texts("<think>it goes on") == ("it goes on", "")
    assert texts("no block <think> here") == (None, "no block <think> here")
