from typing import Any

import pytest

from tasks.traces.prompts import OfferedLabel, Wish, candidates_prompt, open_prompt
from tasks.traces.stand_in.asked import read_request, wants_schema
from tasks.traces.stand_in.thinking import Question
from tasks.traces.stand_in.wording import Style

SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}
LABELS = (OfferedLabel(4, "vim: an editor"), OfferedLabel(2, "emacs: another"))


def _open(variant: str = "both", form: str = "json", **more: Any) -> dict[str, Any]:  # JSON values of many types
    given = LABELS if variant.startswith("phase-2") else ()
    return {"messages": open_prompt("Title\ntext", 9, ["a"], Wish(variant, form), given).messages()} | more


def _closed(variant: str = "both", form: str = "json", **more: Any) -> dict[str, Any]:  # as above
    return {"messages": candidates_prompt("Title\ntext", LABELS, Wish(variant, form)).messages()} | more


def test_read_request_finds_document_title_and_labels() -> None:
    assert read_request(_open(), "prose", True).question == Question("Title\ntext", None)
    assert read_request(_open(), "prose", True).title == "Title"
    assert read_request(_closed(), "prose", True).question == Question("Title\ntext", (4, 2))
    assert read_request(_open("phase-2-index"), "prose", True).question.given == ("vim: an editor", "emacs: another")


def test_read_request_takes_offered_labels_as_the_shortlist_of_phase_2() -> None:
    asked = read_request(_closed("phase-2-index"), "asked", True)
    assert asked.question == Question("Title\ntext", None, (4, 2))
    assert asked.style == Style("phase-2", is_closed=True, is_given=True)


@pytest.mark.parametrize(("form", "answer_format"), [("json", "json"), ("tagged", "tagged"), ("free", "prose")])
def test_read_request_writes_as_asked_only_if_told_so(form: str, answer_format: str) -> None:
    assert read_request(_open("phase-1", form), "asked", True).answer_format == answer_format
    assert read_request(_open("phase-1", form), "mixed", True).answer_format == "mixed"
    assert read_request(_open("phase-1", form), "asked", True).style.phases == "phase-1"


@pytest.mark.parametrize(
    ("answer_format", "takes_schema", "chosen", "has_ids"),
    [
        ("prose", True, "json", True),
        ("prose", False, "prose", False),
        ("asked", False, "json", True),
        ("json", False, "json", False),
    ],
)
def test_read_request_answers_by_a_schema_it_takes(answer_format: str, takes_schema: bool, chosen: str, has_ids: bool) -> None:
    asked = read_request(_closed("both", "json_schema", response_format=SCHEMA), answer_format, takes_schema)
    assert (asked.answer_format, asked.style.has_ids) == (chosen, has_ids)


def test_read_request_names_labels_by_the_schema_of_an_open_prompt() -> None:
    assert not read_request(_open("both", "json_schema", response_format=SCHEMA), "prose", True).style.has_ids


def test_wants_schema_only_of_json() -> None:
    wanted = [
        wants_schema({"response_format": value}) for value in (SCHEMA, {"type": "json_object"}, {"type": "text"}, None, "x")
    ]
    assert wanted == [True, True, False, False, False]
