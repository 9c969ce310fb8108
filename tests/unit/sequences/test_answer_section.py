"""The final answers of a teacher's text: alone they name the labels that the whole text names, and nothing of the reasoning."""

import json

import pytest

from tasks.parsing.drafts import Mention, TraceDraft
from tasks.sequences.answer_section import NO_ANSWER, NO_OPENING, REASONING_BEHIND, TWO_COLUMNS, Unseparable, find_answer_section
from tasks.sequences.chat import Response
from tasks.sequences.traces import Place, Step, Trace
from tests.unit.parsing.reading import answers, trace

THOUGHT = "Candidates: vim, emacs, nano.\nI keep vim, but emacs is out. nano is too small, drop it. git fits, keep."
STEPS = [
    {"label": "vim", "verdict": "keep", "compared_to": "emacs", "reason": 'it says "modes", so the "answer": is vim'},
    {"label": "emacs", "verdict": "drop", "compared_to": None, "reason": "no [Lisp] {here}"},
]
PARTS = {"shortlist": [{"label": "vim"}, {"label": "emacs"}], "steps": STEPS}
CHOSEN = [{"label": "vim", "confidence": 0.9}, {"label": "git", "confidence": 0.5}]
TAGGED = "<shortlist>\nvim\nemacs\n</shortlist>\n<reasoning>\n<step>vim: keep</step>\n<step>emacs: drop</step>\n</reasoning>\n"

READ = {
    "JSON": ("", json.dumps(PARTS | {"answer": CHOSEN}), '{"answer": ' + json.dumps(CHOSEN) + "}"),
    "JSON in a fence": (
        "",
        "Here it is:\n```json\n" + json.dumps(PARTS | {"answer": ["vim", "git"]}, indent=1) + "\n```\nDone.",
        '{"answer": [\n  "vim",\n  "git"\n ]}',
    ),
    "JSON with other keys after it": (
        "",
        json.dumps(PARTS | {"final_labels": ["vim", "git"], "note": "none"}),
        '{"final_labels": ["vim", "git"]}',
    ),
    "JSON without steps": ("", '{"shortlist": ["vim", "nano"], "steps": [], "answer": ["git"]}', '{"answer": ["git"]}'),
    "JSON after thoughts": (THOUGHT, '{"answer": ["vim", "git"]}', '{"answer": ["vim", "git"]}'),
    "an array after thoughts": (THOUGHT, '["vim", "git"]', '["vim", "git"]'),
    "tags": ("", f"{TAGGED}<answer>\nvim\ngit\n</answer>", "<answer>\nvim\ngit\n</answer>"),
    "tags, and talk": ("", f"{TAGGED}<final_answer>vim</final_answer>\nSo be it.", "<final_answer>vim</final_answer>"),
    "tags that do not close": ("", f"{TAGGED}<answer>\nvim\ngit", "<answer>\nvim\ngit"),
    "tags after a think block": (
        "",
        f"<think>\n{THOUGHT}\n</think>\n{TAGGED}<answer>\nvim\n</answer>",
        "<answer>\nvim\n</answer>",
    ),
    "a heading": ("", f"{THOUGHT}\n\nAnswer:\nvim\ngit", "Answer:\nvim\ngit"),
    "a heading in Markdown": ("", f"{THOUGHT}\n\n### Final answer\n- vim\n- git\n", "### Final answer\n- vim\n- git\n"),
    "a bold heading": (
        "",
        f"<think>\n{THOUGHT}\n</think>\n\n**Final labels:**\n1. git (0.9)\n2. vim",
        "**Final labels:**\n1. git (0.9)\n2. vim",
    ),
    "a heading on the line": ("", f"{THOUGHT}\nAnswer: vim, git", "Answer: vim, git"),
    "a heading in a sentence": ("", f"{THOUGHT}\nSo the final labels are: vim, git", "So the final labels are: vim, git"),
    "a sentence": ("", f"{THOUGHT} So the labels are vim and git.", "Answer:\nSo the labels are vim and git."),
    "a conclusion": ("", f"{THOUGHT}\nIn conclusion: vim, git", "Answer:\nIn conclusion: vim, git"),
    "a step above": ("", f"{THOUGHT}\n\nIn the end I keep these:\n- vim\n- git", "Answer:\n- vim\n- git"),
    "a list after thoughts": (THOUGHT, "- vim\n- git", "Answer:\n- vim\n- git"),
    "a label after thoughts": (THOUGHT, "vim", "Answer:\nvim"),
    "lines at the end": ("", f"{THOUGHT}\n\nvim\ngit", "Answer:\nvim\ngit"),
}


def place(mention: Mention) -> Place:
    return Place(mention.link.label_id if mention.link else None, mention.text, mention.source, mention.start, mention.end)


def read_trace(draft: TraceDraft) -> Trace:
    """A draft as the tables hold it."""
    steps = [
        Step(at, 0.0, one.phase, one.verdict, "", None, None, one.source, one.start, one.end)
        for at, one in enumerate(draft.steps)
    ]
    named = tuple(place(mention) for mention, _ in draft.shortlist)
    return Trace("t", "d", "train", named, tuple(steps), tuple(map(place, draft.answers)), draft.answer_format)


def section(reasoning: str, completion: str) -> str | Unseparable:
    found = read_trace(trace(completion, reasoning))
    return find_answer_section(found, Response(reasoning or None, completion))


@pytest.mark.parametrize(("reasoning", "completion", "expected"), READ.values(), ids=READ.keys())
def test_find_answer_section_quotes_the_answers_and_no_reasoning(reasoning: str, completion: str, expected: str) -> None:
    assert section(reasoning, completion) == expected


@pytest.mark.parametrize(("reasoning", "completion", "expected"), READ.values(), ids=READ.keys())
def test_a_section_alone_is_read_as_the_answers_of_the_whole_text(reasoning: str, completion: str, expected: str) -> None:
    alone = trace(expected, variant="phase-2-index")
    assert answers(alone) == answers(trace(completion, reasoning))
    assert [mention.score for mention in alone.answers] == [mention.score for mention in trace(completion, reasoning).answers]


def test_an_answer_before_the_steps_is_no_section() -> None:
    assert section("", json.dumps({"answer": ["vim"]} | PARTS)) == Unseparable(REASONING_BEHIND)


def test_json_that_is_not_whole_has_no_section() -> None:
    assert section("", json.dumps(PARTS)[:-1] + ', "answer": ["vim", "git"') == Unseparable(NO_OPENING)


def test_a_runaway_of_brackets_has_no_section() -> None:
    text = "[" * 100_000 + "vim"
    answer = Place(1, "vim", "completion_text", len(text) - 3, len(text))
    assert find_answer_section(Trace("t", "d", "train", (), (), (answer,), "json"), Response(None, text)) == Unseparable(
        NO_OPENING
    )


def test_answers_in_both_columns_and_none_are_no_section() -> None:
    apart = Place(1, "vim", "reasoning_text", 0, 3), Place(2, "git", "completion_text", 0, 3)
    assert find_answer_section(Trace("t", "d", "train", (), (), apart), Response("vim", "git")) == Unseparable(TWO_COLUMNS)
    assert find_answer_section(Trace("t", "d", "train", (), (), ()), Response("vim", "git")) == Unseparable(NO_ANSWER)
