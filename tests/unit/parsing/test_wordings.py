"""Ways of arguing about labels, in words that no template of ours has."""

import pytest

from tests.unit.parsing.reading import answers, decided, shortlist, trace

LISTED = "Candidates: vim, emacs, nano, git, less.\n\nI keep git. "


def argued(sentence: str) -> list[tuple[str, str | None, str | None]]:
    return decided(trace(f"{LISTED}{sentence}\n\nAnswer:\ngit\n"))[1:]


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("vim is too broad, so is nano.", [("drop", "vim", None), ("drop", "nano", None)]),
        ("vim is unrelated, and nano is too specific.", [("drop", "vim", None), ("drop", "nano", None)]),
        ("I can't justify vim, nor nano.", [("drop", "vim", None), ("drop", "nano", None)]),
        ("Between vim and nano, the latter is redundant.", [("drop", "nano", "vim")]),
        ("nano would be superfluous.", [("drop", "nano", None)]),
        ("nano is superseded by vim.", [("drop", "nano", "vim")]),
        ("vim is more precise than nano.", [("keep", "vim", "nano")]),
        ("Is it nano? No.", [("drop", "nano", None)]),
        ("What about vim? Yes, definitely.", [("keep", "vim", None)]),
    ],
)
def test_a_sentence_decides(sentence: str, found: list[tuple[str, str | None, str | None]]) -> None:
    assert argued(sentence) == found


@pytest.mark.parametrize(
    "sentence",
    [
        "Let me keep going with vim.",
        "Wait, no, vim.",
        "I'll return to vim.",
        "vim: in C",
        "vim (in part)",
        "It says how vim works.",
        "I may be wrong.",
    ],
)
def test_a_sentence_decides_nothing(sentence: str) -> None:
    assert argued(sentence) == []


@pytest.mark.parametrize(
    "rows",
    [
        "vim - yes\nnano - no\n",
        "1. vim: in\n2. nano: n/a\n",
        "- vim -> ✓ modes\n- nano -> ✗ small\n",
        "| Label | Fits |\n|---|---|\n| vim | ok |\n| nano | out |\n",
        "| # | Label | Fits |\n| - | --- | --- |\n| 1 | vim | included |\n| 2 | nano | not applicable |\n",
    ],
)
def test_a_working_paper_decides_line_by_line(rows: str) -> None:
    draft = trace(f"Candidates:\n- vim\n- nano\n- git\n\nScreening:\n{rows}\nResult:\n- vim\n")
    assert shortlist(draft) == ["vim", "nano", "git"]
    assert [(verdict, subject) for verdict, subject, _ in decided(draft)] == [("keep", "vim"), ("drop", "nano")]


@pytest.mark.parametrize(
    "ending",
    [
        "vim\nnano\n",
        "[1] vim\n[2] nano\n",
        "These labels apply: vim and nano.",
        "The best labels are vim and nano.",
        "3. Result\n\n- vim\n- nano\n",
        "**Conclusion**\n\nvim\nnano\n",
    ],
)
def test_final_labels_are_found(ending: str) -> None:
    draft = trace(f"{LISTED}vim fits. nano fits as well. emacs is out.\n\n{ending}")
    assert answers(draft) == ["vim", "nano"]


@pytest.mark.parametrize(
    "content",
    [
        "The labels are vim, nano and git.",
        "Based on the text, the labels are vim, nano and git.",
        "So I settle on: vim, nano, git",
    ],
)
def test_an_answer_in_a_sentence_is_no_label_itself(content: str) -> None:
    draft = trace(content, reasoning=f"{LISTED}vim fits, nano fits.")
    assert answers(draft) == ["vim", "nano", "git"]
