"""Traces in compact form: what is written, where its parts stand, and how it is read back."""

import pytest

from tasks.sequences.annotated import Unlocated
from tasks.sequences.compact import (
    CompactForm,
    WrittenStep,
    annotate_compact,
    compact_prompt,
    label_tokens,
    read_compact,
    spoken_steps,
)
from tests.support.written_traces import DOCUMENT, NAMES, STEPS, first_of, make_trace

UIDS = {1: "vim", 2: "vim gtk", 3: "gimp", 4: "nano"}
TOKENS = label_tokens(UIDS)
IDS = {token: label for label, token in TOKENS.items()}
FORM = CompactForm(TOKENS, NAMES, 9, 2)
TEXT = (
    "<document> plugins for vim highlighting of python code folding and <shortlist> @vim @vim_gtk @gimp <refine> "
    "<keep> @vim highlighting <drop> @vim_gtk python <drop> @gimp folding <answer> @vim <end>"
)


def test_annotate_compact_writes_the_form_and_joins_repeated_steps() -> None:
    assert annotate_compact(make_trace()[0], DOCUMENT, FORM, first_of).text == TEXT


def test_annotate_compact_says_where_everything_stands() -> None:
    found = annotate_compact(make_trace()[0], DOCUMENT, FORM, first_of)
    text = found.text
    assert text[found.document.start : found.document.end] == "plugins for vim highlighting of python code folding and"
    assert [text[span.start : span.end] for span in found.anchors] == ["highlighting", "python", "folding"]
    assert all(span.end <= found.document.end for span in found.anchors)
    assert [text[one.span.start : one.span.end] for one in found.candidates] == ["@vim", "@vim_gtk", "@gimp"]
    assert [one.is_kept for one in found.candidates] == [True, False, False]
    assert text[found.response_start :].startswith("<shortlist> @vim")
    assert text[found.refine_start :].startswith("<refine> <keep>")
    (step,) = found.refinements
    assert text[step.target_span.start - 7 : step.target_span.end] == "<keep> @vim"
    assert (step.target_label_id, step.near_miss_label_id, step.step, step.position) == (1, 2, 4, 0.5)
    # quoted words beyond the words that are read: buffers, ueber; in no document: pixels
    assert found.unlocated == Unlocated(anchor_count=3, candidate_count=1, no_near_miss_count=0)


def test_annotate_compact_takes_the_near_miss_a_step_names_if_the_trace_drops_it() -> None:
    steps = list(STEPS)
    steps[4] = ("refine", "keep", "vim rather than gimp", 1, 3)
    assert annotate_compact(make_trace(steps)[0], DOCUMENT, FORM, first_of).refinements[0].near_miss_label_id == 3
    steps[4] = ("refine", "keep", "vim rather than nano", 1, 4)
    assert annotate_compact(make_trace(steps)[0], DOCUMENT, FORM, first_of).refinements[0].near_miss_label_id == 2


def test_annotate_compact_counts_steps_without_a_near_miss() -> None:
    found = annotate_compact(make_trace(answers=(1, 2, 3))[0], DOCUMENT, FORM, first_of)
    assert not found.refinements
    assert found.unlocated.no_near_miss_count == 1


def test_annotate_compact_of_a_trace_without_steps_has_empty_parts() -> None:
    found = annotate_compact(make_trace((), ())[0], "!!", FORM, first_of)
    assert found.text == "<document> <shortlist> <refine> <answer> <end>"
    assert found.document.start == found.document.end


def test_compact_prompt_is_the_beginning_of_the_annotated_text() -> None:
    found = annotate_compact(make_trace()[0], DOCUMENT, FORM, first_of)
    assert found.text.startswith(compact_prompt(DOCUMENT, FORM) + " <shortlist>")


def test_label_tokens_stay_apart() -> None:
    tokens = label_tokens({1: "a b", 2: "a_b", 3: "a\tb#2", 4: "c", 5: "a_b#1"})
    assert len(set(tokens.values())) == 5
    assert tokens[4] == "@c"
    assert not any(char.isspace() for token in tokens.values() for char in token)


def test_read_compact_gives_back_what_was_written() -> None:
    written = read_compact(TEXT, IDS)
    assert written.shortlist == (1, 2, 3)
    assert written.steps == (
        WrittenStep(1, "keep", ("highlighting",)), WrittenStep(2, "drop", ("python",)), WrittenStep(3, "drop", ("folding",)),
    )  # fmt: skip
    assert written.answers == (1,)
    assert written.is_whole
    assert read_compact(TEXT.partition("and ")[2], IDS) == written


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "<end>",
        "<shortlist> @vim <refine> <answer> @vim",
        "<shortlist> <refine> <answer> @vim <end>",
        "<shortlist> @vim <refine> <answer> <end>",
        "<shortlist> @vim <answer> @vim <end>",
        "<refine> <shortlist> @vim <answer> @vim <end>",
        "<shortlist> @vim word <refine> <answer> @vim <end>",
        "<shortlist> @vim <refine> <keep> <answer> @vim <end>",
        "<shortlist> @vim <refine> <keep> word @vim <answer> @vim <end>",
        "<shortlist> @vim <refine> word <keep> @vim <answer> @vim <end>",
        "<shortlist> @vim <refine> <keep> @stranger <answer> @vim <end>",
    ],
)
def test_read_compact_sees_what_breaks_the_form(broken: str) -> None:
    assert not read_compact(broken, IDS).is_whole


def test_read_compact_reads_what_it_can_of_a_malformed_text() -> None:
    written = read_compact(
        "word <answer> @gimp <shortlist> @vim <unk> @vim <refine> @gimp <keep> <drop> @vim a <keep> @nano", IDS
    )
    assert (written.shortlist, written.answers) == ((1,), (3,))
    assert written.steps == (WrittenStep(1, "drop", ("a",)), WrittenStep(4, "keep", ()))


def test_spoken_steps_are_readable_and_carry_their_phase() -> None:
    spoken = spoken_steps(read_compact(TEXT, IDS), NAMES)
    assert [step.phase for step in spoken] == ["shortlist"] * 3 + ["refine"] * 3 + ["answer"]
    assert spoken[0].text == "vim: an editor"
    assert spoken[4].text == "vim-gtk: an editor with windows python"
