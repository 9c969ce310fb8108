import time

import pytest

from schemas.fields import VARIANTS
from tasks.traces.forms import follows_form, listed_shortlist

SHORTLIST = '"shortlist": [{"label": "vim"}, {"label": "nano"}]'
STEPS = '"steps": [{"label": "vim", "verdict": "keep", "compared_to": null, "reason": "r"}]'
ANSWER = '"answer": [{"label": "vim", "confidence": 0.9}]'
JSON_BY_VARIANT = {"both": f"{{{SHORTLIST}, {STEPS}, {ANSWER}}}", "phase-1": f"{{{SHORTLIST}}}"}
TAGGED_BY_VARIANT = {
    "both": "<shortlist>\nvim\n</shortlist>\n<reasoning>\n<step>vim: keep</step>\n</reasoning>\n<answer>\nvim\n</answer>",
    "phase-1": "<shortlist>\nvim\n</shortlist>",
}
JSON_PHASE_2 = f"{{{STEPS}, {ANSWER}}}"
TAGGED_PHASE_2 = "<reasoning>\n<step>vim: keep</step>\n</reasoning>\n<answer>\nvim\n</answer>"


@pytest.mark.parametrize("variant", VARIANTS)
def test_follows_form_sees_json_with_the_parts_of_the_variant(variant: str) -> None:
    good = JSON_BY_VARIANT.get(variant, JSON_PHASE_2)
    for form in ("json", "json_schema"):
        for text in (
            good,
            f"<think>a {{}} b</think>\n{good}",
            f"```json\n{good}\n```",
            f"hm {{x}}</think>{good}",
            f"Here: {good} Done.",
        ):
            assert follows_form(form, variant, text, "")
        for text in ("", good[:-1], "{}", TAGGED_PHASE_2, good.replace('"s', '"x').replace('"a', '"x'), f"<think>{good}"):
            assert not follows_form(form, variant, text, good)


def test_follows_form_wants_lists_and_every_part() -> None:
    assert not follows_form("json", "both", JSON_PHASE_2, "")
    assert not follows_form("json", "phase-2-index", JSON_BY_VARIANT["phase-1"], "")
    assert not follows_form("json", "phase-1", '{"shortlist": "vim"}', "")


@pytest.mark.parametrize("variant", VARIANTS)
def test_follows_form_sees_the_tags_of_the_variant(variant: str) -> None:
    good = TAGGED_BY_VARIANT.get(variant, TAGGED_PHASE_2)
    for text in (good, f"<think>\nhm\n</think>\n{good}", good.upper(), f"Here it is:\n{good}"):
        assert follows_form("tagged", variant, text, "")
    for text in ("", "vim", JSON_PHASE_2, good.replace("</", "<"), f"<think>{good}"):
        assert not follows_form("tagged", variant, text, "")


def test_follows_form_takes_any_text_as_free() -> None:
    assert follows_form("free", "both", "vim", "")
    assert follows_form("free", "both", "", "hm")
    assert not follows_form("free", "both", " \n", "\t")


def test_follows_form_knows_a_closing_tag_that_the_answer_quotes() -> None:
    assert follows_form("json", "phase-1", '{"shortlist": [{"label": "</think>"}]}', "")
    assert follows_form("json", "phase-1", '<think>so</think>{"shortlist": [{"label": "</think>"}]}', "")
    assert follows_form("tagged", "phase-1", "<think>so</think><shortlist>\n</think>\n</shortlist>", "")


@pytest.mark.parametrize(
    "text",
    [
        '{"shortlist": [{"label": "vim"}, {"label": "GNU nano"}]}',
        '```json\n{"shortlist": ["vim", "GNU nano"]}\n```',
        '<think>{"shortlist": ["emacs"]}</think>\n{"shortlist": ["vim", "GNU nano"]}',
        'My shortlist, as JSON: {"shortlist": ["vim", "GNU nano"]}. Done.',
        '{"shortlist": ["vim", "GNU nano", "ema',
        '{"shortlist": [{"label": "vim"}, {"label": "GNU nano"}, {"lab',
        '["vim", "GNU nano"]',
        "<shortlist>\nvim\nGNU nano\n</shortlist>",
        "<think>\n- emacs\n</think><shortlist>\n1. vim\n2. GNU nano",
        "<shortlist>vim\nGNU nano</shortlist>\n<answer>\nvim\n</answer>",
        "The text edits files. It may be an editor.\n\nShortlist:\nvim\nGNU nano\n",
        "**Shortlist:**\n\n1. vim\n2) GNU nano\n",
        "I can think of these:\n- vim\n* GNU nano\n\nI would say these fit the document.",
        "vim\nGNU nano\nvim",
        "## My shortlist\nvim\nGNU nano",
        "```\nvim\r\nGNU nano\r\n```",
    ],
)
def test_listed_shortlist_reads_any_form(text: str) -> None:
    assert listed_shortlist(text, "") == ["vim", "GNU nano"]


def test_listed_shortlist_leaves_numbers_of_labels_and_marks_of_names() -> None:
    assert listed_shortlist("1. [12] vim\n2. [3] **nano**", "") == ["[12] vim", "[3] **nano**"]
    assert listed_shortlist("[12] vim\n[3] nano", "") == ["[12] vim", "[3] nano"]
    assert listed_shortlist('{"shortlist": [{"id": 12}, {"id": 3}, {"id": 12}]}', "") == ["[12]", "[3]"]
    assert listed_shortlist('{"shortlist": [12, true, null, "[3] nano"]}', "") == ["[12]", "[3] nano"]


def test_listed_shortlist_takes_no_label_for_a_heading() -> None:
    assert listed_shortlist("Shortlist:\nvim\nLabels", "") == ["vim", "Labels"]


def test_listed_shortlist_reads_the_reasoning_only_where_it_lists() -> None:
    assert listed_shortlist("", "I think.\nShortlist:\nvim") == ["vim"]
    assert listed_shortlist("<think>\nShortlist:\nnano", "so I took these:\n- vim") == ["vim"]
    assert listed_shortlist("", "I think of vim\nand of nano") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '[{"label": ""}, ["vim"], 1.5]',
        '{"shortlist": [',
        "[" * 100_000,
        "[" + '{"id":' * 400 + "1" + "}" * 400 + "]",
        '{"a":' * 100_000,
        "<think>vim",
        "I cannot help you with that.",
    ],
)
def test_listed_shortlist_is_empty_where_nothing_is_listed(text: str) -> None:
    assert listed_shortlist(text, "") == []


def test_listed_shortlist_is_bounded() -> None:
    names = listed_shortlist("\n".join(f"- label {i}" for i in range(5000)) + "\n- " + "x" * 5000, "")
    assert names == [f"label {i}" for i in range(100)]


@pytest.mark.parametrize(
    "piece", ["{", "[", '"', "<think>", "</think>", "<shortlist>", " \n", " ", "> ", "1", "#", "my ", "- ", ", "]
)
def test_long_answers_take_time_in_proportion(piece: str) -> None:
    text = piece * (400_000 // len(piece)) + "x"
    started = time.monotonic()
    for form in ("json", "tagged"):
        follows_form(form, "both", text, "")
    listed_shortlist(text, text)
    assert time.monotonic() - started < 2
