"""What a step cites of its document, and where that stands."""

from tasks.sequences.annotated import Span
from tasks.sequences.evidence import cited_words, find_anchors
from tasks.sequences.words import find_words

DOCUMENT = "Folding and folding again: Python buffers for Vim."
HELD = frozenset(word.text for word in find_words(DOCUMENT))


def test_cited_words_are_content_words_of_the_document_in_the_order_of_the_step() -> None:
    assert cited_words("It speaks of buffers, of Python and again of buffers.", [], HELD).words == ("buffers", "python")


def test_cited_words_leave_out_the_name_of_the_label_but_not_its_words_elsewhere() -> None:
    names = ["python: a language"]
    assert cited_words("python: a language, because of folding", names, HELD).words == ("folding",)
    assert cited_words("Python fits, because of folding", names, HELD).words == ("folding",)
    assert cited_words("folding speaks for vim python", ["vim python buffers"], HELD).words == ("folding", "vim", "python")


def test_cited_words_count_quoted_words_that_the_document_does_not_hold() -> None:
    cited = cited_words('"folding" and \u201cpixel art\u201d and \u00abbuffers\u00bb, and brushes', [], HELD)
    assert cited.words == ("folding", "buffers")
    assert cited.unlocated_count == 2


def test_cited_words_of_a_json_step_are_those_of_its_texts() -> None:
    step = '{"label": "gimp", "verdict": "keep", "compared_to": null, "reason": "it says \\"folding\\" and \\"pixels\\""}'
    cited = cited_words(step, ["gimp: edits images"], HELD)
    assert (cited.words, cited.unlocated_count) == (("folding",), 1)


def test_cited_words_of_broken_json_are_those_of_the_text() -> None:
    assert cited_words('{"reason": "folding', [], HELD).words == ("folding",)


def test_find_anchors_gives_the_first_place_or_all() -> None:
    words = find_words(DOCUMENT)
    assert find_anchors(words, {"folding", "vim"}) == (Span(0, 7), Span(46, 49))
    assert find_anchors(words, {"folding"}, is_first_only=False) == (Span(0, 7), Span(12, 19))
    assert find_anchors(words, {"nothing"}) == ()
