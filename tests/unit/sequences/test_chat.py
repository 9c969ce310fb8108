"""Prompt and trace as one text of a chat model: every span quotes what it names."""

from dataclasses import replace

import pytest

from schemas.errors import ModelRefusedError
from tasks.sequences.annotated import AnnotatedText, Span, Unlocated
from tasks.sequences.chat import Response, annotate_chat, find_name, render_prompt
from tests.support.tiny_tokenizers import beginning, byte_level
from tests.support.written_traces import DOCUMENT, NAMES, STEPS, first_of, make_trace

PROMPT = "Choose labels.\n\n{document}\n\nShortlist first."


def annotated(has_template: bool = True, document: str = DOCUMENT, prompt_text: str = PROMPT) -> AnnotatedText:
    tokenizer = (beginning if has_template else byte_level)([DOCUMENT])
    trace, reasoning = make_trace()
    prompt = render_prompt(tokenizer, prompt_text, document)
    return annotate_chat(trace, prompt, Response(reasoning, NAMES[1]), NAMES, first_of)


def quote(found: AnnotatedText, span: Span) -> str:
    return found.text[span.start : span.end]


@pytest.mark.parametrize("has_template", [True, False])
def test_annotate_chat_quotes_document_anchors_candidates_and_targets(has_template: bool) -> None:
    found = annotated(has_template)
    assert quote(found, found.document) == DOCUMENT
    assert [quote(found, span) for span in found.anchors] == ["Highlighting", "Python", "folding", "\u00dcber", "buffers"]
    assert [quote(found, one.span) for one in found.candidates] == [NAMES[1], NAMES[2], "gimp"]
    assert [one.is_kept for one in found.candidates] == [True, False, False]
    assert [quote(found, one.target_span) for one in found.refinements] == [NAMES[1]]
    assert found.text[found.response_start :].startswith(NAMES[1])
    assert found.text[found.refine_start :].startswith("vim: an editor fits")
    assert found.text.endswith("\n" + NAMES[1])
    assert found.unlocated == Unlocated(anchor_count=1, candidate_count=1)


def test_annotate_chat_puts_the_template_around_the_prompt() -> None:
    assert annotated().text.startswith("<s><|user|>Choose labels.")
    assert annotated(False).text.startswith("Choose labels.")


def test_annotate_chat_counts_a_keep_step_that_does_not_name_its_target() -> None:
    steps = list(STEPS)
    steps[4] = ("refine", "keep", "I keep this one.", 1, None)
    trace, reasoning = make_trace(steps)
    found = annotate_chat(trace, render_prompt(byte_level([]), PROMPT, DOCUMENT), Response(reasoning, ""), NAMES, first_of)
    assert not found.refinements
    assert found.unlocated.refinement_count == 1


def test_annotate_chat_shifts_the_completion_behind_the_reasoning() -> None:
    trace, reasoning = make_trace()
    moved = replace(trace, shortlist=trace.answers)
    prompt = render_prompt(byte_level([]), PROMPT, DOCUMENT)
    for response in (Response(reasoning, NAMES[1]), Response("", NAMES[1]), Response(None, NAMES[1])):
        found = annotate_chat(moved, prompt, response, NAMES, first_of)
        assert [quote(found, one.span) for one in found.candidates] == [NAMES[1]]


@pytest.mark.parametrize("prompt_text", ["{document}", "  {document} \n", "say: {document}"])
@pytest.mark.parametrize("document", ["x", "user", "  a document in space \u200b ", "{brace} <|user|> \U0001f600"])
def test_render_prompt_finds_the_document_where_a_template_trims(prompt_text: str, document: str) -> None:
    prompt = render_prompt(beginning([]), prompt_text, document)
    assert prompt.text[prompt.document.start : prompt.document.end].strip() == document.strip()
    assert prompt.document.start >= len("<s><|user|>")


def test_render_prompt_refuses_a_template_that_rewrites_the_message() -> None:
    tokenizer = beginning([])
    tokenizer.chat_template = "{{ messages[0]['content'] | upper }}"
    with pytest.raises(ModelRefusedError, match="chat template"):
        render_prompt(tokenizer, PROMPT, DOCUMENT)


def test_find_name_takes_the_longest_form_first() -> None:
    text = "so VIM, that is Vim - an Editor"
    found = find_name(text, ["vim: an editor"])
    assert found and text[found.start : found.end] == "Vim - an Editor"
    short = find_name("keep vim", ["vim: an editor"])
    assert short == Span(5, 8)
    assert find_name("keep it", ["vim: an editor"]) is None
