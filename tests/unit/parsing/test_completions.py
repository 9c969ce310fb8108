"""Whole answers, in the styles of several reasoning models, to drafts and rejects."""

import json

import pytest

from tasks.parsing.completions import Completion, read_completion
from tasks.parsing.drafts import RejectDraft
from tests.unit.parsing.catalogue import ID, LABELS, NAME
from tests.unit.parsing.reading import CATALOGUE, answers, decided, phases, read, shortlist, trace, uid

MUSING = """The document is about a program that cuts long recordings into tracks. It mentions "WAV files" and "less effort".

Candidates that come to mind: "audacity: fast, cross-platform audio editor", "flac: Free Lossless Audio Codec - command line \
tools", lame, sox and "wavesplit".

Looking at audacity again: the text mentions "editing of recordings", so I keep it.
flac is fine as well: lossless files are written, keep.
lame is close, but the text says nothing about MP3 rather than sox, so drop it.
sox belongs here, no question.
wavesplit is too specific. Drop.

So the final labels are audacity, flac and sox.
"""

TALKING = """<think>
Okay, so I need to find labels for this one. Hmm, a front end for a version control system. What could fit?

1. git
2. less
3. screen - a terminal multiplexer
4. tig

Let me go through these one by one.

1. git: obviously relevant, the text describes a git helper. Keep.
2. less: hmm, it is only a pager. Not needed.
3. screen: unrelated to version control; remove it.
4. tig: it is a text interface for git, similar to git but more specific. Wait, does the text want an interface? Yes. Keep.
</think>

**Final labels:**
1. git (0.9)
2. tig (confidence: 70%)
"""

MARKDOWN = """### Step 1: Shortlist
- **vim** — an editor
- **emacs** — another editor
- **nano** — a small editor
- **ed** — the standard editor

### Step 2: Refinement
* **vim**: the description asks for modes, which is what vim has. I'd keep it.
* **emacs** vs **vim**: both are editors, yet nothing about Lisp here; I'd rather leave emacs out.
* **nano**: small and friendly, but modes rule it out.
* **ed**: no.

### Final answer
vim"""


def test_musing_prose_gives_shortlist_verdicts_and_boundary() -> None:
    draft = trace("- audacity\n- flac\n- sox", MUSING)
    assert draft.answer_format == "prose"
    assert shortlist(draft) == ["audacity", "flac", "lame", "sox", "wavesplit"]
    assert answers(draft) == ["audacity", "flac", "sox"]
    assert draft.boundary_step == 7
    assert phases(draft) == "sssssss" + "rrrrrr" + "aaa" + "aaa"
    assert decided(draft)[:4] == [
        ("keep", "audacity", None),
        ("keep", "flac", None),
        ("drop", "lame", "sox"),
        ("keep", "sox", None),
    ]
    assert decided(draft)[-1] == ("drop", "wavesplit", None)


def test_quoted_words_of_the_document_are_no_candidates() -> None:
    draft = trace("- audacity", MUSING)
    assert "less" not in shortlist(draft)
    assert "WAV files" not in shortlist(draft)


def test_think_block_with_numbered_lists_is_read_like_a_reasoning_column() -> None:
    draft = trace(TALKING)
    assert shortlist(draft) == ["git", "less", "screen", "tig"]
    assert answers(draft) == ["git", "tig"]
    assert [mention.score for mention in draft.answers] == [0.9, 0.7]
    verdicts = {subject: verdict for verdict, subject, _ in decided(draft)}
    assert verdicts == {"git": "keep", "less": "drop", "screen": "drop", "tig": "keep"}
    assert draft.steps[draft.boundary_step or 0].phase == "refine"
    assert "4 of 4 first mentions before" in draft.boundary_evidence_text


def test_markdown_with_headings_is_read_from_content_alone() -> None:
    draft = trace(MARKDOWN)
    assert shortlist(draft) == ["vim", "emacs", "nano", "ed"]
    assert answers(draft) == ["vim"]
    assert ("keep", "vim", None) in decided(draft)
    assert ("drop", "emacs", "vim") in decided(draft)
    assert ("drop", "nano", None) in decided(draft)
    assert phases(draft) == "ssssrrrra"


def test_prose_that_judges_at_once_has_one_phase_and_keeps_its_shortlist() -> None:
    draft = trace("vim", "vim: asks for modes, keep. emacs: no Lisp here, drop. nano: too small, drop.")
    assert draft.boundary_step == 0
    assert shortlist(draft) == ["vim", "emacs", "nano"]


def test_prose_without_argument_has_no_boundary() -> None:
    draft = trace("- git\n- tig", "Candidates: git, tig.")
    assert draft.boundary_step is None
    assert "no step argues" in draft.boundary_evidence_text
    assert shortlist(draft) == ["git", "tig"]


def test_two_decisions_in_one_sentence_become_two_steps() -> None:
    draft = trace("- vim", "Candidates: vim, emacs.\nI keep vim, but emacs is out.")
    assert decided(draft) == [("keep", "vim", None), ("drop", "emacs", None)]


@pytest.mark.parametrize(
    ("sentence", "verdict", "subject", "other"),
    [
        ("vim vs nano: both edit, yet I'd keep vim and leave nano out.", "drop", "nano", "vim"),
        ("Unlike nano, vim has modes, so it stays.", "keep", "vim", "nano"),
        ("nano rather than vim: the words settle it, so vim is out.", "drop", "vim", "nano"),
        ("nano is close to vim, but the words point to vim.", "keep", "vim", "nano"),
        ("nano is close, but this is about vim rather than nano, so drop it.", "drop", "nano", "vim"),
    ],
)
def test_sides_follow_the_label_beside_the_verdict(sentence: str, verdict: str, subject: str, other: str) -> None:
    draft = trace("- vim", f"Candidates: vim, nano.\n{sentence}")
    assert decided(draft)[-1] == (verdict, subject, other)


def test_a_verdict_without_a_label_is_about_the_last_topic() -> None:
    draft = trace("- vim", "Candidates: vim, nano.\nnano is similar to vim. It has no modes. Drop it.")
    assert decided(draft)[-1] == ("drop", "nano", "vim")


def test_words_in_names_and_quotations_are_no_verdicts() -> None:
    draft = trace("- git", 'Candidates: git, lame.\nLooking at git: the text says "drop it or keep it" somewhere.')
    assert decided(draft) == []


STEPS = (
    {"label": "vim", "verdict": "keep", "compared_to": "emacs", "reason": 'the text "says" modes'},
    {"label": "emacs", "verdict": "drop", "compared_to": None, "reason": "no Lisp"},
    {"label": 'na"no é', "verdict": "compare", "compared_to": "vim", "reason": "?"},
)
JSON = {
    "shortlist": [{"label": NAME["vim"]}, "emacs", {"label": 'na"no é'}, {"name": "VIM"}],
    "steps": STEPS,
    "answer": [
        {"label": "vim", "confidence": 0.9},
        {"label": "emacs", "confidence": "35%"},
        {"label": "git", "confidence": 7000},
    ],
}


@pytest.mark.parametrize("frame", ["{}", "Here you are:\n```json\n{}\n```\nAnything else?", "<think>hm {{</think>\n{}"])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_read_bare_fenced_and_after_thought(frame: str, indent: int | None) -> None:
    content = frame.replace("{}", json.dumps(JSON, indent=indent))
    draft = trace(content)
    assert draft.answer_format == "json"
    assert shortlist(draft) == ["vim", "emacs", 'na"no é']
    assert answers(draft) == ["vim", "emacs", "git"]
    assert [mention.score for mention in draft.answers] == [0.9, 0.35, None]
    assert decided(draft) == [("keep", "vim", "emacs"), ("drop", "emacs", None), ("compare", 'na"no é', "vim")]
    assert phases(draft) == "ssss" + "rrr" + "aaa"
    assert draft.boundary_step == 4
    quoted = [content[mention.start : mention.end] for mention, _ in draft.shortlist]
    assert quoted == [NAME["vim"], "emacs", 'na\\"no \\u00e9', "VIM"]
    assert json.loads(content[draft.steps[4].start : draft.steps[4].end]) == STEPS[0]


def test_json_steps_may_be_sentences() -> None:
    content = json.dumps({"shortlist": ["vim", "nano"], "steps": "vim has modes, keep.\nnano: drop it.", "answer": ["vim"]})
    assert decided(trace(content)) == [("keep", "vim", None), ("drop", "nano", None)]


def test_json_cut_off_keeps_what_was_whole() -> None:
    draft = trace('{"shortlist": ["vim", "nano"], "steps": [{"label": "vim", "verdict": "ke', finish_reason="length")
    assert (shortlist(draft), answers(draft), len(draft.steps)) == (["vim", "nano"], [], 3)


def test_json_answer_after_free_reasoning_takes_its_shortlist_from_there() -> None:
    draft = trace('{"answer": ["git"]}', "Candidates: git, tig.\ntig is too narrow, drop it. git stays.")
    assert (draft.answer_format, shortlist(draft), answers(draft)) == ("json", ["git", "tig"], ["git"])


def test_json_numbers_link_where_labels_had_numbers() -> None:
    content = json.dumps({"shortlist": [0, "[1] emacs", {"id": 2, "label": "?"}], "steps": [], "answer": ["[0]"]})
    assert shortlist(trace(content, takes_ids=True)) == ["vim", "emacs", "nano"]


TAGGED = """<shortlist>
- git
* less
3. tig
</shortlist>
<reasoning>
<step>git is kept, since the text names it.</step>
<step>less is a pager; drop it in favour of tig.
<step verdict="keep">tig</step>
</reasoning>
<answer>
git
"tig" (0.5)
"""


def test_tagged_sections_are_read_though_tags_stay_open() -> None:
    draft = trace(TAGGED)
    assert draft.answer_format == "tagged"
    assert (shortlist(draft), answers(draft)) == (["git", "less", "tig"], ["git", "tig"])
    assert decided(draft) == [("keep", "git", None), ("drop", "less", "tig"), ("keep", "tig", None)]
    assert phases(draft) == "sss" + "rrr" + "aa"


def test_tagged_lines_without_step_tags_are_steps() -> None:
    draft = trace("<shortlist>vim, emacs</shortlist><reasoning>vim: keep\nemacs: drop</reasoning><answer>vim</answer>")
    assert shortlist(draft) == ["vim", "emacs"]
    assert decided(draft) == [("keep", "vim", None), ("drop", "emacs", None)]


def test_candidate_numbers_stand_for_labels_in_prose() -> None:
    reasoning = "Candidates: [5], [4] and [3].\n[5] fits. [4] is too general, drop. [3]: drop."
    draft = trace("[5] tig\n[4]", reasoning, takes_ids=True)
    assert (shortlist(draft), answers(draft)) == (["tig", "git", "less"], ["tig", "git"])
    assert decided(draft)[0] == ("keep", "tig", None)


def test_an_everyday_word_that_is_a_label_counts_only_where_it_is_marked() -> None:
    steps = ["Less [4] is more.", "Less, in short, is no word for it.", "less: a pager, drop.", "I drop `less`."]
    draft = trace(json.dumps({"shortlist": ["[4]"], "steps": steps, "answer": ["[4]"]}), takes_ids=True)
    assert [uid(step.subject) for step in draft.steps if step.phase == "refine"] == ["git", None, "less", "less"]


def test_answers_by_commas_on_one_line_are_several_but_a_title_with_commas_is_one() -> None:
    assert answers(trace("vim, emacs and nano", "Candidates: vim, emacs, nano.")) == ["vim", "emacs", "nano"]
    assert answers(trace(NAME["git"], "Candidates: git, tig.")) == ["git"]


def test_answers_named_in_a_sentence_are_found() -> None:
    assert answers(trace("I would choose **vim** and **emacs** for this.", "Candidates: vim, emacs, nano.")) == ["vim", "emacs"]


@pytest.mark.parametrize(
    ("content", "reasoning", "finish_reason", "reason"),
    [
        ("I'm sorry, but I can't help with that.", "", "stop", "refused"),
        ("I’m unable to assist with this request.", "Candidates: vim, emacs.", "stop", "refused"),
        ("vim", "", "content_filter", "refused"),
        ("  \n", "", "stop", "empty_completion"),
        ('{"foo": [1, 2', "", "stop", "unreadable_answer"),
        ("Hello! How are you today?", "", "stop", "unreadable_answer"),
        ('{"answer": ["vim"]}', "", "stop", "no_shortlist"),
        ('{"shortlist": ["vim"], "answer": []}', "", "stop", "no_answer"),
        ("<shortlist>vim</shortlist>", "", "stop", "no_answer"),
    ],
)
def test_unusable_answers_are_rejected_with_a_reason(content: str, reasoning: str, finish_reason: str, reason: str) -> None:
    draft = read(content, reasoning, finish_reason)
    assert isinstance(draft, RejectDraft)
    assert draft.reason == reason


def test_failed_requests_are_rejected_as_teacher_errors() -> None:
    draft = read_completion(Completion("", "", None, "TransientTeacherError", "429 for an hour", False), CATALOGUE)
    assert draft == RejectDraft("teacher_error", "TransientTeacherError: 429 for an hour")


@pytest.mark.parametrize("content", ["<shortlist>vim", '{"answer": ["vim"'])
def test_cut_off_answers_with_a_shortlist_or_an_answer_are_kept(content: str) -> None:
    draft = trace(content, finish_reason="length")
    assert draft.shortlist or draft.answers


def test_uids_of_the_catalogue_are_distinct() -> None:
    assert len(ID) == len(LABELS)
