"""Places of annotated text as token positions, for every kind of fast tokenizer and awkward text."""

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from schemas.errors import ModelRefusedError
from tasks.sequences.annotated import AnnotatedText, Candidate, Refinement, Span
from tasks.sequences.chat import Response, annotate_chat, render_prompt
from tasks.sequences.compact import CompactForm, annotate_compact, label_tokens
from tasks.sequences.tokens import TokenSequence, tokenize
from tests.support.tiny_tokenizers import MAKERS, Maker, beginning, byte_level, word_level, word_piece
from tests.support.written_traces import DOCUMENT, NAMES, first_of, make_trace

TOKENS = label_tokens({1: "vim", 2: "vim gtk", 3: "gimp", 4: "nano"})
PROMPT = "Choose labels.\n{document}\nGo."
AWKWARD = {
    "plain": DOCUMENT,
    "accents": "Plugins f\u00fcr Vim: na\u00efve caf\u00e9 folding, cafe\u0301 buffers",
    "zero width": "Plug\u200bins for\u200b Vim \ufeff folding\u2060 buffers",
    "emoji": "\U0001f469\u200d\U0001f4bb Vim \U0001f600\U0001f600 folding \U0001f3f4\U000e0067\U000e007f buffers",
    "scripts": "Vim \u65e5\u672c\u8a9e \u0939\u093f\u0928\u094d\u0926\u0940 \u0639\u0631\u0628\u064a folding buffers \ufdfa",
    "controls": "Vim\x00\x1f folding \x0b buffers\r\n\u2028 x",
}


def annotated_compact(document: str = DOCUMENT) -> AnnotatedText:
    return annotate_compact(make_trace()[0], document, CompactForm(TOKENS, NAMES, 9, 2), first_of)


def annotated_chat(tokenizer: PreTrainedTokenizerFast, document: str = DOCUMENT) -> AnnotatedText:
    trace, reasoning = make_trace()
    return annotate_chat(trace, render_prompt(tokenizer, PROMPT, document), Response(reasoning, NAMES[1]), NAMES, first_of)


def covered(text: AnnotatedText, tokenizer: PreTrainedTokenizerFast, found: TokenSequence, places: np.ndarray) -> str:
    """What the tokens at some positions stand for: from the first character of the first to the last of the last."""
    has_specials = not text.text.startswith("<s>")
    offsets = tokenizer(text.text, return_offsets_mapping=True, add_special_tokens=has_specials)["offset_mapping"]
    return text.text[offsets[places[0]][0] : offsets[places[-1]][1]]


@pytest.mark.parametrize("document", AWKWARD.values(), ids=AWKWARD.keys())
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_tokenize_covers_every_span(make: Maker, document: str) -> None:
    tokenizer = make([DOCUMENT, *NAMES.values()])
    text = annotated_chat(tokenizer, document)
    found = tokenize(text, tokenizer, 100_000, NAMES)
    kept = [one for one in text.candidates if any(one.label_id == label for label in found.candidate_labels)]
    for candidate, places in zip(kept, found.candidate_spans, strict=True):
        assert text.text[candidate.span.start : candidate.span.end] in covered(text, tokenizer, found, places)
    assert document.strip("\x00") in covered(text, tokenizer, found, found.document)
    assert set(found.anchors) <= set(found.document)
    for span in text.anchors:
        assert text.text[span.start : span.end] in covered(text, tokenizer, found, found.anchors)
    np.testing.assert_array_equal(found.token_ids[found.early_rows + 1], found.early_tokens)
    np.testing.assert_array_equal([places[0] - 1 for places in found.candidate_spans], found.early_rows)
    assert max(found.document) < found.response_start < found.refine_start <= len(found.token_ids)


def test_tokenize_of_compact_text_has_a_token_a_word() -> None:
    text = annotated_compact()
    words = text.text.split()
    tokenizer = word_level([text.text])
    found = tokenize(text, tokenizer, 1000, TOKENS)
    assert tokenizer.convert_ids_to_tokens(found.token_ids.tolist()) == words
    assert found.document.tolist() == list(range(1, 10))
    assert [words[place] for place in found.anchors] == ["highlighting", "python", "folding"]
    assert [words[row + 1] for row in found.early_rows] == ["@vim", "@vim_gtk", "@gimp"]
    assert words[found.early_rows[0]] == words[found.response_start] == "<shortlist>"
    assert words[found.refine_start] == "<refine>"
    assert [words[row] for row in found.refine_rows] == ["<keep>"]
    assert tokenizer.convert_ids_to_tokens(found.margin_tokens[0].tolist()) == ["@vim", "@vim_gtk"]
    assert found.refine_labels.tolist() == [[1, 2]]
    assert found.refine_positions == (0.5,)
    assert found.is_kept.tolist() == [True, False, False]
    assert found.cut_count == 0


def test_tokenize_compares_target_and_near_miss_where_they_first_differ() -> None:
    tokenizer = byte_level([DOCUMENT], 257)  # a token a byte
    text = annotated_chat(tokenizer)
    found = tokenize(text, tokenizer, 10_000, NAMES)
    (row,) = found.refine_rows
    # `vim: an editor` and `vim-gtk: ...` differ in their fourth byte
    assert tokenizer.decode(found.token_ids[row - 2 : row + 2].tolist()) == "vim:"
    assert tokenizer.convert_ids_to_tokens(found.margin_tokens[0].tolist()) == [":", "-"]
    assert found.token_ids[row + 1] == found.margin_tokens[0, 0]


@pytest.mark.parametrize(("target", "near"), [("dict", "dictd"), ("dictd", "dict"), ("dict", "dict")])
def test_tokenize_leaves_out_names_that_begin_alike_to_the_end(target: str, near: str) -> None:
    tokenizer = byte_level([], 257)
    start = len("x: <shortlist> a, keep ")
    text = AnnotatedText(
        "d", "t", f"x: <shortlist> a, keep {target} now", Span(0, 1), (), (),
        (Refinement(1, 2, Span(start, start + len(target)), 0, 0.0),), 3, 18,
    )  # fmt: skip
    found = tokenize(text, tokenizer, 100, {2: near})
    assert (len(found.refine_rows), found.cut_count) == (0, 1)


@pytest.mark.parametrize("length", range(1, 24))
def test_tokenize_counts_what_a_cut_takes(length: int) -> None:
    text = annotated_compact()
    tokenizer = word_level([text.text])
    whole, found = tokenize(text, tokenizer, 1000, TOKENS), tokenize(text, tokenizer, length, TOKENS)
    assert len(found.token_ids) == length
    for places in (found.document, found.anchors, found.early_rows + 1, found.refine_rows + 1):
        assert max(places, default=0) < length
    held = len(found.anchors) + len(found.early_rows) + len(found.refine_rows)
    assert held + found.cut_count == len(whole.anchors) + len(whole.early_rows) + len(whole.refine_rows)
    assert found.response_start == min(whole.response_start, length)
    assert found.refine_start == min(whole.refine_start, length)


def test_tokenize_leaves_out_what_the_tokenizer_does_not_know() -> None:
    text = annotated_compact()
    for stranger, rows in (("@vim_gtk", (2, 0)), ("@vim", (2, 0)), ("@gimp", (2, 1))):
        known = [word for word in text.text.split() if word != stranger]
        found = tokenize(text, word_level([" ".join(known)]), 1000, TOKENS)
        assert (len(found.early_rows), len(found.refine_rows)) == rows
        assert found.cut_count == 4 - sum(rows)


def test_tokenize_doubles_no_beginning_that_the_template_wrote() -> None:
    tokenizer = beginning([DOCUMENT])
    ids = tokenize(annotated_chat(tokenizer), tokenizer, 1000, NAMES).token_ids
    assert (ids == tokenizer.bos_token_id).sum() == 1
    assert ids[0] == tokenizer.bos_token_id


def test_tokenize_adds_the_special_tokens_of_a_bare_text() -> None:
    text = AnnotatedText("d", "t", "a b", Span(0, 1), (), (Candidate(1, Span(2, 3), True),), (), 2, 3)
    bert = word_piece(["a b"])
    found = tokenize(text, bert, 10, {})
    assert bert.convert_ids_to_tokens(found.token_ids.tolist()) == ["[CLS]", "a", "b", "[SEP]"]
    assert (found.document.tolist(), found.early_rows.tolist(), found.response_start) == ([1], [1], 2)
    assert found.refine_start == 4


def test_tokenize_has_no_row_for_a_candidate_at_the_very_beginning() -> None:
    text = AnnotatedText("d", "t", "b a", Span(2, 3), (), (Candidate(1, Span(0, 1), True),), (), 0, 3)
    found = tokenize(text, word_level(["a b"]), 10, {})
    assert (len(found.early_rows), found.cut_count) == (0, 1)


def test_tokenize_of_text_without_places_has_empty_arrays_of_the_right_shape() -> None:
    found = tokenize(AnnotatedText("d", "t", "a b", Span(0, 0), (), (), (), 2, 3), word_level(["a b"]), 10, {})
    assert found.margin_tokens.shape == found.refine_labels.shape == (0, 2)
    assert found.early_rows.dtype == found.refine_rows.dtype == found.anchors.dtype == np.int64


def test_tokenize_refuses_a_tokenizer_without_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PreTrainedTokenizerFast, "is_fast", property(lambda _: False))
    with pytest.raises(ModelRefusedError, match="offsets"):
        tokenize(annotated_compact(), word_level(["a"]), 10, TOKENS)
