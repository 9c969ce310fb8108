"""Answers to phase 1 alone, and to phase 2 alone on a given shortlist."""

import json

import pytest

from schemas.fields import VARIANTS
from tasks.parsing.drafts import RejectDraft
from tasks.parsing.variants import phases_of
from tests.unit.parsing.reading import answers, decided, phases, read, shortlist, trace

PHASE_2 = [variant for variant in VARIANTS if variant.startswith("phase-2")]
GIVEN = "the shortlist was given: every step refines"
MUSING = "The document is about editing. Maybe vim, emacs or nano.\nvim fits well, keep. emacs is too broad, drop it."
JUDGING = (
    "Looking at vim: the text asks for modes, so I keep it.\nnano is close to vim, but too small. Drop it.\nMaybe emacs? No."
)
STEPS = [
    {"label": "vim", "verdict": "keep", "compared_to": None, "reason": "modes"},
    {"label": "nano", "verdict": "drop", "compared_to": "vim", "reason": "small"},
]
ID_STEPS = [
    {"id": 0, "verdict": "keep", "compared_to": None, "reason": "modes"},
    {"id": 2, "verdict": "drop", "compared_to": 0, "reason": "small"},
]


def test_phases_of_tells_no_shortlists_apart() -> None:
    assert [phases_of(variant) for variant in VARIANTS] == ["both", "phase-1", "phase-2", "phase-2", "phase-2"]


@pytest.mark.parametrize(
    "content",
    [
        '{"shortlist": [{"label": "vim"}, {"label": "nano"}, {"label": "gizmo"}]}',
        '```json\n{"shortlist": ["vim", "nano", "gizmo"]}\n```',
        '<think>I should list labels.</think>{"labels": ["vim", "nano", "gizmo"]}',
        '["vim", "nano", "gizmo"]',
        "<shortlist>\nvim\nnano\ngizmo\n</shortlist>",
        "<answer>vim\nnano\ngizmo</answer>",
        "vim\nnano\ngizmo",
        "1. vim\n2. nano\n3. gizmo\n\nI hope that this list helps you!",
        "The text is about editing, so it may be an editor.\n\nShortlist:\nvim\nnano\ngizmo",
        "**My shortlist:**\n- vim\n- nano\n- gizmo",
        "Final answer:\nvim\nnano\ngizmo",
    ],
)
def test_a_phase_1_list_is_a_shortlist_in_any_form(content: str) -> None:
    draft = trace(content, variant="phase-1")
    assert (shortlist(draft), answers(draft)) == (["vim", "nano", "gizmo"], [])
    assert {draft.steps[at].phase for _, at in draft.shortlist} == {"shortlist"}
    assert draft.boundary_step is None


def test_a_phase_1_list_after_thought_is_the_shortlist_and_the_thought_stays_as_it_is() -> None:
    draft = trace("- vim\n- nano", MUSING, variant="phase-1")
    assert shortlist(draft) == ["vim", "nano"]
    assert phases(draft) == "s" + "sss" + "rr" + "ss"
    assert decided(draft) == [("keep", "vim", None), ("drop", "emacs", None)]


def test_a_phase_1_answer_without_a_list_gives_what_it_names() -> None:
    draft = trace("The text is about editing. Candidates: vim, emacs and nano.", variant="phase-1")
    assert (shortlist(draft), answers(draft)) == (["vim", "emacs", "nano"], [])


def test_a_phase_1_answer_by_numbers_is_read() -> None:
    draft = trace('{"shortlist": [{"id": 0}, {"id": 2}, {"id": 999}]}', takes_ids=True, variant="phase-1")
    assert shortlist(draft) == ["vim", "nano", "999"]
    assert shortlist(trace("[0] vim\n[2] nano", takes_ids=True, variant="phase-1")) == ["vim", "nano"]


def test_a_phase_1_answer_may_be_cut_off() -> None:
    for content in ('{"shortlist": ["vim", "na', "<shortlist>\nvim", "Shortlist:\nvim"):
        for finish_reason in ("length", "connection_cut"):
            assert shortlist(trace(content, finish_reason=finish_reason, variant="phase-1")) == ["vim"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("Hello! How are you today?", "unreadable_answer"),
        ('{"shortlist": []}', "unreadable_answer"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("I cannot help with that\nPlease ask someone else", "refused"),
        (" ", "empty_completion"),
    ],
)
def test_a_phase_1_answer_without_labels_is_rejected(content: str, reason: str) -> None:
    draft = read(content, variant="phase-1")
    assert isinstance(draft, RejectDraft)
    assert draft.reason == reason


def test_a_phase_1_list_after_words_of_regret_is_no_refusal() -> None:
    assert shortlist(trace("I'm sorry, I cannot say more.\nShortlist:\nvim", variant="phase-1")) == ["vim"]


@pytest.mark.parametrize("variant", PHASE_2)
@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"steps": STEPS, "answer": [{"label": "vim", "confidence": 0.9}]}),
        json.dumps({"shortlist": ["vim", "nano"], "steps": STEPS, "answer": ["vim"]}),
        "<reasoning><step>vim: modes, keep</step><step>nano is small; drop it in favour of vim.</step></reasoning>"
        "<answer>vim</answer>",
        "vim has modes, keep.\nI keep vim rather than nano, so nano is out.\n\nAnswer:\nvim",
    ],
)
def test_a_phase_2_answer_has_refine_steps_and_no_shortlist(variant: str, content: str) -> None:
    draft = trace(content, variant=variant)
    assert (shortlist(draft), answers(draft)) == ([], ["vim"])
    assert phases(draft) == "rra"
    assert decided(draft) == [("keep", "vim", None), ("drop", "nano", "vim")]
    assert (draft.boundary_step, draft.boundary_evidence_text) == (0, GIVEN)


def test_a_phase_2_answer_by_numbers_is_read_with_its_rivals() -> None:
    content = json.dumps({"steps": ID_STEPS, "answer": [{"id": 0, "confidence": 0.9}]})
    draft = trace(content, takes_ids=True, variant="phase-2-index")
    assert decided(draft) == [("keep", "vim", None), ("drop", "nano", "vim")]
    assert (answers(draft), draft.answers[0].score) == (["vim"], 0.9)


def test_first_mentions_of_phase_2_prose_make_no_shortlist() -> None:
    for content, reasoning in ((JUDGING + "\n\nAnswer:\nvim", ""), ("vim", JUDGING), (f"<think>{JUDGING}</think>vim", "")):
        draft = trace(content, reasoning, variant="phase-2-teacher")
        assert (shortlist(draft), answers(draft)) == ([], ["vim"])
        assert set(phases(draft)) == {"r", "a"}
        assert decided(draft)[-2:] == [("drop", "nano", "vim"), ("drop", "emacs", None)]


def test_a_bare_phase_2_answer_takes_its_steps_from_the_reasoning() -> None:
    assert decided(trace('{"answer": ["vim"]}', JUDGING, variant="phase-2-index"))[0] == ("keep", "vim", None)
    assert phases(trace('{"answer": ["vim"]}', variant="phase-2-index")) == "a"


@pytest.mark.parametrize(
    ("content", "reasoning"),
    [
        (json.dumps({"steps": STEPS[1:], "answer": []}), ""),
        (json.dumps({"steps": STEPS[1:], "answer": ["None"]}), ""),
        ("<reasoning><step>nano: drop</step></reasoning><answer>\n</answer>", ""),
        ("<reasoning><step>nano: drop</step></reasoning><answer>none</answer>", ""),
        ("nano is off topic, drop.\n\nAnswer:\nNone of the listed labels fits this document.", ""),
        ("nano is off topic, drop.\n\n**Answer:**", ""),
        ("(none)", "nano is off topic, drop."),
        ("No labels fit.", "nano is off topic, drop."),
    ],
)
def test_a_phase_2_answer_may_keep_no_label(content: str, reasoning: str) -> None:
    draft = trace(content, reasoning, variant="phase-2-stranger")
    assert (shortlist(draft), answers(draft)) == ([], [])
    assert [verdict for verdict, *_ in decided(draft)] == ["drop"]
    assert "a" not in phases(draft)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("Hello! How are you today?", "unreadable_answer"),
        ('{"steps": [], "answer": []}', "unreadable_answer"),
        (json.dumps({"steps": STEPS}), "no_answer"),
        (json.dumps({"steps": [{"label": "vim", "verdict": "?"}], "answer": []}), "no_answer"),
        ("none", "unreadable_answer"),
        ("I'm sorry, but I can't help with that.", "refused"),
    ],
)
def test_a_phase_2_answer_without_judgement_is_rejected(content: str, reason: str) -> None:
    draft = read(content, variant="phase-2-index")
    assert isinstance(draft, RejectDraft)
    assert draft.reason == reason


def test_a_phase_2_answer_may_be_cut_off() -> None:
    draft = trace(json.dumps({"steps": STEPS})[:-30], finish_reason="connection_cut", variant="phase-2-index")
    assert decided(draft)[0] == ("keep", "vim", None)


def test_an_empty_answer_to_both_phases_stays_a_reject() -> None:
    draft = read(json.dumps({"shortlist": ["nano"], "steps": STEPS[1:], "answer": []}))
    assert isinstance(draft, RejectDraft)
    assert draft.reason == "no_answer"
