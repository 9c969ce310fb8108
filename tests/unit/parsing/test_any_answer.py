"""Properties that hold of any answer: composed of tags, JSON, bullets and label names, and cut anywhere."""

import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.fields import VARIANTS
from tasks.parsing.completions import Completion, read_completion
from tasks.traces.answers import storable
from tests.unit.parsing.catalogue import small_catalogue
from tests.unit.parsing.nasty import NASTY_NAMES, TEXTS
from tests.unit.parsing.quoting import NASTY, Row, assert_rows_sound, parse_texts
from tests.unit.parsing.reading import assert_sound

CATALOGUE = NASTY
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
MORE = st.fixed_dictionaries(
    {
        "variant": st.sampled_from(VARIANTS),
        "prompt_kind": st.sampled_from(("open", "candidates")),
        "finish_reason": st.sampled_from(("stop", "length", "connection_cut", "content_filter", None)),
    }
)
STEPS = [{"label": "vim: Vi IMproved - enhanced vi editor", "verdict": "keep", "compared_to": None, "reason": 'says "vi"\n'}]
REAL_JSON = json.dumps(
    {"shortlist": ["vim", "na\u00efve", "git"], "steps": STEPS, "answer": [{"label": "vim", "confidence": 0.9}]}
)
REAL_TAGGED = (
    "<think>So.</think>\n<shortlist>\n1. vim\n- nano: small, friendly text editor inspired by Pico\n</shortlist>\n<reasoning>\n"
    "<step>vim fits: keep.</step>\n<step>nano is too small, so I drop it.</step>\n</reasoning>\n<answer>\nvim (0.9)\n</answer>"
)


@QUICK
@given(TEXTS, TEXTS, MORE)
def test_any_text_is_read_soundly(content: str, reasoning: str, more: dict[str, str]) -> None:
    takes_ids = more["prompt_kind"] == "candidates"
    raw = Completion(content, reasoning, more["finish_reason"], None, None, takes_ids, more["variant"])
    assert_sound(read_completion(raw, CATALOGUE), content, reasoning)


@QUICK
@given(st.lists(st.tuples(TEXTS.map(storable), st.one_of(st.none(), TEXTS.map(storable)), MORE), min_size=1, max_size=4))
def test_any_stored_row_is_one_trace_or_one_reject_that_quotes(texts: list[Row]) -> None:
    assert_rows_sound(*parse_texts(*texts))


@pytest.mark.parametrize("text", [REAL_JSON, REAL_TAGGED], ids=["json", "tagged"])
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_an_answer_cut_at_any_character_is_read_as_far_as_it_goes(text: str, finish_reason: str) -> None:
    cuts: list[Row] = [(text[:end], None, {"finish_reason": finish_reason}) for end in range(len(text) + 1)]
    raw, tables = parse_texts(*cuts, catalogue=small_catalogue())
    assert_rows_sound(raw, tables)
    linked = tables["core_shortlist"].drop_nulls("label_id").group_by("request_hash").agg("label_id").rows()
    found = {request_hash: set(labels) for request_hash, labels in linked}
    assert len(found[f"r{len(text)}"]) == 2
    assert all(labels <= found[f"r{len(text)}"] for labels in found.values())
    unknown = tables["core_shortlist"].filter(pl.col("label_id").is_null())["mention_text"]
    assert not unknown.str.contains("[<>{]").any()


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_a_label_of_any_name_is_found_in_json_whatever_it_looks_like(name: str) -> None:
    for is_ascii in (True, False):
        raw, tables = parse_texts((json.dumps({"shortlist": [name], "answer": [name]}, ensure_ascii=is_ascii), None, {}))
        assert_rows_sound(raw, tables)
        found = [CATALOGUE.names[label] for label in tables["core_answers"]["label_id"].drop_nulls()]
        assert found == [name] or not name.strip()


@pytest.mark.parametrize("longer", ["editor: small, fast and old", "editor: small, fast", "editor: small", "editor", "edit"])
def test_a_name_is_not_taken_for_one_it_begins_with(longer: str) -> None:
    content = f"<shortlist>\n{longer}\n</shortlist>\n<answer>\n{longer}\n</answer>"
    _, tables = parse_texts(
        (content, None, {}), (f"Candidates:\n- {longer}\n- vim\n\n{longer} fits.\n\nAnswer:\n{longer}", None, {})
    )
    assert [CATALOGUE.names[label] for label in tables["core_answers"]["label_id"]] == [longer, longer]


def test_a_span_is_that_of_the_text_that_linked() -> None:
    content = "Candidates: <answer>.\n\nI keep it.I keep [3] \n\nFinal answer:\n"
    raw, tables = parse_texts((content, None, {"finish_reason": "length"}))
    assert_rows_sound(raw, tables)
    assert "I keep it.I keep" in tables["core_answers"]["mention_text"].to_list()
