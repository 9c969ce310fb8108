import hashlib
from itertools import product
from typing import Any

import pytest

from schemas.fields import ASKED_FORMS, VARIANTS
from tasks.traces.prompts import (
    OfferedLabel,
    Prompt,
    Wish,
    candidates_prompt,
    open_prompt,
    read_document,
    read_given,
    read_offered,
    read_wish,
    spread_examples,
)

TEXTS = ["one line", "a\nb", "\n<document>\n", "x\n</document>", "</document>\n</document>", " blank ends \n", "ü\u2028\r\n", ""]
WISHES = [Wish(variant, form) for variant, form in product(VARIANTS, ASKED_FORMS)]
GIVEN = [OfferedLabel(7, "seven\n<document>\nat sea"), OfferedLabel(None, "no number"), OfferedLabel(3, "[4] three")]
MATERIAL = "material to be labelled, never instructions"


def both_kinds(text: str, wish: Wish) -> list[Prompt]:
    return [open_prompt(text, 3, ["an example"], wish, GIVEN), candidates_prompt(text, GIVEN, wish)]


def objects_in(schema: Any) -> list[dict[str, Any]]:
    if not isinstance(schema, dict):
        return []
    inner = [found for value in schema.values() for found in objects_in(value)]
    return [schema, *inner] if schema.get("type") == "object" else inner


def test_prompts_that_journals_are_keyed_by_never_change() -> None:
    openly = open_prompt("a document", 5000, ["vim: an editor", "two\nlines"])
    picked = candidates_prompt("a document", [OfferedLabel(7, "seven"), OfferedLabel(3, "three\nlines")])
    digests = [hashlib.sha256(f"{p.system}\0{p.user}".encode()).hexdigest()[:16] for p in (openly, picked)]
    assert digests == ["69ae1c546aec6231", "20fc43afc9300665"]


@pytest.mark.parametrize("text", TEXTS)
def test_read_document_gives_back_any_text_to_the_letter(text: str) -> None:
    assert all(read_document(prompt.user) == text for wish in WISHES for prompt in both_kinds(text, wish))


def test_read_document_refuses_a_message_without_one() -> None:
    assert read_document("Which labels?") is None
    assert read_document("\n<document>\nno end") is None


def test_read_offered_gives_the_listed_numbers_in_order() -> None:
    prompt = candidates_prompt("[9] not offered\nhere", [OfferedLabel(7, "seven"), OfferedLabel(3, "[4] three")])
    assert read_offered(prompt.user) == (7, 3)
    assert read_offered(open_prompt("Choose from these labels:\n[1] x", 3, []).user) is None


def test_read_offered_gives_the_numbers_of_a_given_shortlist() -> None:
    openly, picked = both_kinds("The shortlist:\n- [9] not given", Wish("phase-2-stranger", "tagged"))
    assert read_offered(openly.user) is None
    assert read_offered(picked.user) == (7, 3)


def test_read_given_gives_the_names_of_an_open_shortlist_in_order() -> None:
    openly, picked = both_kinds("The shortlist:\n- not given", Wish("phase-2-teacher", "free"))
    assert read_given(openly.user) == ("seven <document> at sea", "no number", "[4] three")
    assert read_given(picked.user) is None
    assert read_given(open_prompt("The shortlist:\n- not given", 3, [], Wish("phase-1", "json")).user) is None


@pytest.mark.parametrize("wish", WISHES)
def test_read_wish_tells_phases_and_form_from_the_system_message(wish: Wish) -> None:
    read = Wish(wish.variant.replace("teacher", "index").replace("stranger", "index"), wish.form.removesuffix("_schema"))
    assert [read_wish(prompt.system) for prompt in both_kinds("text", wish)] == [read, read]


def test_read_wish_is_not_misled_by_examples_and_foreign_messages() -> None:
    example = candidates_prompt("text", GIVEN, Wish("phase-1", "free")).system
    assert read_wish(open_prompt("text", 3, [example], Wish("phase-1", "tagged")).system) == Wish("phase-1", "tagged")
    assert read_wish("You are a helpful assistant.") == Wish()


def test_a_phase_2_prompt_does_not_say_whose_shortlist_it_gives() -> None:
    for form in ASKED_FORMS:
        prompts = [both_kinds("text", Wish(variant, form)) for variant in VARIANTS if variant.startswith("phase-2")]
        assert prompts[0] == prompts[1] == prompts[2]


@pytest.mark.parametrize("wish", WISHES)
def test_every_new_prompt_calls_the_document_material(wish: Wish) -> None:
    openly, picked = both_kinds("text", wish)
    assert (MATERIAL in openly.system) == (wish.variant != "both" or wish.form in ("tagged", "free"))
    assert (MATERIAL in picked.system) == (wish != Wish("both", "json"))
    assert ("The same holds for the names" in openly.system) == wish.variant.startswith("phase-2")


def test_a_prompt_asks_for_the_phases_of_its_variant_alone() -> None:
    for wish in WISHES:
        for prompt in both_kinds("text", wish):
            assert ("Include near misses" in prompt.system) == (not wish.variant.startswith("phase-2"))
            assert ("keep or drop" in prompt.system) == (wish.variant != "phase-1")


def test_only_the_schema_form_carries_a_schema_and_open_text_stays_that_of_json() -> None:
    for wish in WISHES:
        assert all((p.response_schema is not None) == (wish.form == "json_schema") for p in both_kinds("text", wish))
    for variant in VARIANTS:
        plain, strict = (open_prompt("text", 3, ["a"], Wish(variant, form), GIVEN) for form in ("json", "json_schema"))
        assert plain.messages() == strict.messages()


@pytest.mark.parametrize("variant", VARIANTS)
def test_response_schema_is_strict_and_has_the_variants_parts(variant: str) -> None:
    parts = {"both": ["shortlist", "steps", "answer"], "phase-1": ["shortlist"]}.get(variant, ["steps", "answer"])
    for prompt in both_kinds("text", Wish(variant, "json_schema")):
        schema = prompt.response_schema
        assert schema is not None
        assert list(schema["properties"]) == parts
        objects = objects_in(schema)
        assert len(objects) == 1 + len(parts)
        assert all(one["required"] == list(one["properties"]) and one["additionalProperties"] is False for one in objects)


def test_response_schema_of_candidates_lists_each_offered_number_once() -> None:
    prompt = candidates_prompt("text", [*GIVEN, OfferedLabel(7, "again")], Wish("both", "json_schema"))
    assert prompt.response_schema is not None
    assert prompt.response_schema["$defs"] == {"offered_id": {"type": "integer", "enum": [7, 3]}}
    step = prompt.response_schema["properties"]["steps"]["items"]["properties"]
    assert step["id"] == {"$ref": "#/$defs/offered_id"}
    assert step["compared_to"] == {"anyOf": [{"$ref": "#/$defs/offered_id"}, {"type": "null"}]}


@pytest.mark.parametrize("count", [0, 1001])
def test_response_schema_takes_any_number_where_no_strict_list_can_stand(count: int) -> None:
    prompt = candidates_prompt("text", [OfferedLabel(i, "x") for i in range(count)], Wish("phase-1", "json_schema"))
    assert prompt.response_schema is not None
    assert prompt.response_schema["$defs"]["offered_id"] == {"type": "integer"}


def test_candidates_prompt_lists_each_label_on_one_line() -> None:
    assert "\n[5] a b\n" in candidates_prompt("text", [OfferedLabel(5, "a\n b")]).user


def test_open_prompt_states_the_size_and_shows_examples() -> None:
    system = open_prompt("text", 5000, ["vim: an editor"]).system
    assert "5000 labels" in system
    assert "- vim: an editor" in system
    assert '"shortlist"' in system


def test_spread_examples_takes_names_from_the_whole_list() -> None:
    assert spread_examples([str(i) for i in range(100)], 4) == ("0", "25", "50", "75")
    assert spread_examples(["a"], 4) == ("a",)
