"""What a part becomes does not hang on whether it came from another process."""

import json
import pickle

import pytest

from tasks.parsing.drafts import UNLINKED, Link
from tasks.parsing.rows import READ_COLUMNS, linked_frames, read_part
from tests.unit.parsing.reading import CATALOGUE
from tests.unit.parsing.test_tables import raw_rows

ODD = json.dumps({"shortlist": ["vim", "nanoo editorr"], "answer": ["nanoo editorr"]})
KNOWN = json.dumps({"shortlist": ["vim"], "answer": ["vim"]})
RAW = raw_rows(*({"completion_text": text} for text in (KNOWN, ODD, "", KNOWN))).select(READ_COLUMNS)


@pytest.mark.parametrize("link", [UNLINKED, Link(0, "fuzzy", 0.9)], ids=["unlinked", "linked"])
def test_linked_frames_of_a_part_that_was_sent_are_those_of_the_part(link: Link) -> None:
    part = read_part(RAW, CATALOGUE)
    links = {text: link for one in part.unlinked for text in one.texts}
    here, sent = linked_frames(part, links), linked_frames(pickle.loads(pickle.dumps(part)), links)
    assert links and all(frame.equals(sent[name]) for name, frame in here.items())


def test_linked_frames_keep_the_order_of_rows_when_a_trace_is_made_again() -> None:
    part = read_part(RAW, CATALOGUE)
    links = {text: Link(0, "fuzzy", 0.9) for one in part.unlinked for text in one.texts}
    plain, linked = linked_frames(part, dict.fromkeys(links, UNLINKED)), linked_frames(part, links)
    assert linked["core_traces"]["trace_id"].equals(plain["core_traces"]["trace_id"])
    assert linked["core_answers"]["label_id"].to_list()[1] == 0
    assert plain["core_answers"]["label_id"].to_list()[1] is None
