"""The compact answers of decoder students: exact spans, labels by their tokens, and malformed ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.parsing.compact_form import is_compact
from tasks.parsing.drafts import RejectDraft
from tasks.parsing.names import Catalogue
from tasks.sequences.compact import MARKS, read_compact
from tests.unit.parsing.catalogue import ID
from tests.unit.parsing.quoting import assert_rows_sound, parse_texts
from tests.unit.parsing.reading import CATALOGUE, answers, assert_sound, decided, phases, read, shortlist, trace

WHOLE = (
    "<shortlist> @vim @nano @works-with::image <refine> <drop> @nano small <keep> @vim enhanced vi "
    "<answer> @vim @works-with::image"
)
PARTS = st.sampled_from(
    [*MARKS, "@vim", "@nano", "@stranger", "@", "editor", "answer:", "\n", "</answer>", "[1]", '{"answer": ["vim"]}']
)


def test_a_whole_answer_is_read_with_its_spans() -> None:
    draft = trace(WHOLE)
    assert draft.answer_format == "tagged"
    assert shortlist(draft) == ["vim", "nano", "works-with::image"]
    assert decided(draft) == [("drop", "nano", None), ("keep", "vim", None)]
    assert answers(draft) == ["vim", "works-with::image"]
    assert phases(draft) == "sssrraa"
    assert draft.boundary_step == 3
    quoted = [WHOLE[step.start : step.end] for step in draft.steps]
    assert quoted[3:6] == ["<drop> @nano small", "<keep> @vim enhanced vi", "@vim"]
    assert_sound(draft, WHOLE, "")


def test_the_end_and_what_follows_it_say_nothing() -> None:
    assert trace(f"{WHOLE} <end> @git <answer> @git") == trace(f"{WHOLE} <end>")
    assert answers(trace(f"{WHOLE} <end> @git")) == ["vim", "works-with::image"]


def test_a_compact_answer_reads_the_same_whether_numbers_are_labels() -> None:
    assert trace(WHOLE, takes_ids=True) == trace(WHOLE)


def test_labels_of_one_identifier_are_told_apart_by_number() -> None:
    catalogue = Catalogue([3, 4, 5], ["a b", "a_b", "c d"], ["one", "two", "three"])
    assert dict(catalogue.by_token) == {"@a_b#3": 3, "@a_b#4": 4, "@c_d": 5}


def test_a_token_of_no_label_stays_unlinked() -> None:
    _, tables = parse_texts(("<shortlist> @vi @vim <refine> <answer> @vim", None, {}), catalogue=CATALOGUE)
    assert tables["core_shortlist"].select("mention_text", "label_id", "link_method").rows() == [
        ("@vi", None, "none"),
        ("@vim", ID["vim"], "exact"),
    ]


def test_an_answer_that_is_missing_is_rejected_unless_it_was_cut() -> None:
    cut = WHOLE.partition(" <answer>")[0]
    rejected = read(cut)
    assert isinstance(rejected, RejectDraft)
    assert rejected.reason == "no_answer"
    assert shortlist(trace(cut, finish_reason="length")) == ["vim", "nano", "works-with::image"]


@pytest.mark.parametrize(
    "tagged",
    [
        "<shortlist> @vim </shortlist>\n<answer>\nvim\n</answer>",
        "<shortlist>\n@vim\n<refine>\n<answer>\nvim",
        "I write <shortlist> @vim and so on",
    ],
)
def test_other_forms_are_left_to_their_readers(tagged: str) -> None:
    assert not is_compact(tagged, 0, len(tagged))


@given(st.lists(PARTS, max_size=14), st.sampled_from(["stop", "length"]))
def test_malformed_answers_are_one_trace_or_one_reject(parts: list[str], finish_reason: str) -> None:
    text = " ".join(["<shortlist>", "@vim", *parts])
    assert_rows_sound(*parse_texts((text, None, {"finish_reason": finish_reason}), catalogue=CATALOGUE))


@given(st.lists(st.sampled_from([*MARKS, "@vim", "@nano", "word"]), max_size=14))
def test_labels_are_those_that_the_decoder_is_read_with(parts: list[str]) -> None:
    text = " ".join(["<shortlist>", "@git", *parts])
    written, draft = read_compact(text, CATALOGUE.by_token), read(text, finish_reason="length")
    assert not isinstance(draft, RejectDraft)
    linked = [mention.link.label_id for mention in draft.answers if mention.link]
    assert tuple(dict.fromkeys(linked)) == written.answers
    assert len(decided(draft)) == len(written.steps)
