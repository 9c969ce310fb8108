import hashlib
from dataclasses import replace
from typing import Any

import pytest

from schemas.fields import VARIANTS
from tasks.traces.endpoints import Endpoint
from tasks.traces.prompts import Prompt, Wish, open_prompt
from tasks.traces.requests import TraceRequest, make_request, request_body, response_format

ENDPOINT = Endpoint("http://host/v1", "model", "open", 0.0, 100)
PROMPT = open_prompt("text", 2, ["a"])
SCHEMA = {"type": "object"}
CHANGES = [
    {"name": "http://other/v1"},
    {"model": "other"},
    {"temperature": 0.5},
    {"max_completion_tokens": 99},
    {"top_p": 0.9},
    {"seed": 0},
]


def _make(endpoint: Endpoint = ENDPOINT, prompt: Prompt = PROMPT, **changes: Any) -> TraceRequest:  # each of its own type
    return make_request(endpoint, "d", "train", prompt, **changes)


@pytest.mark.parametrize("change", CHANGES)
def test_make_request_key_depends_on_endpoint_model_and_sampling(change: dict[str, object]) -> None:
    changed = make_request(replace(ENDPOINT, **change), "d", "train", PROMPT)  # type: ignore[arg-type]
    assert changed.request_hash != make_request(ENDPOINT, "d", "train", PROMPT).request_hash
    assert changed.messages_hash == make_request(ENDPOINT, "d", "train", PROMPT).messages_hash


def test_make_request_key_depends_on_messages_and_sample_but_not_on_the_document_id() -> None:
    one = make_request(ENDPOINT, "d", "train", PROMPT)
    assert make_request(ENDPOINT, "e", "test", PROMPT).request_hash == one.request_hash
    assert make_request(ENDPOINT, "d", "train", PROMPT, sample_index=1).request_hash != one.request_hash
    assert make_request(ENDPOINT, "d", "train", open_prompt("texts", 2, ["a"])).request_hash != one.request_hash


def test_make_request_key_stays_what_it_was() -> None:
    key = make_request(ENDPOINT, "d", "train", replace(PROMPT, system="s", user="ü")).request_hash
    text = (
        '{"base_url":"http://host/v1","max_completion_tokens":100,"messages":[{"content":"s","role":"system"},'
        '{"content":"ü","role":"user"}],"model":"model","sample_index":0,"temperature":0.0}'
    )
    assert key == hashlib.sha256(text.encode()).hexdigest(), "a changed key asks every teacher again"


def test_make_request_key_depends_on_the_schema_and_not_on_words_that_are_not_sent() -> None:
    with_schema = _make(prompt=replace(PROMPT, response_schema=SCHEMA))
    assert with_schema.request_hash != _make().request_hash
    assert with_schema.messages_hash == _make().messages_hash
    assert _make(asked_form="tagged").request_hash == _make().request_hash
    assert _make(replace(ENDPOINT, prompt_kind="candidates")).request_hash == _make().request_hash


def test_make_request_gives_each_variant_and_form_a_key_of_its_own() -> None:
    wishes = [Wish(v, f) for v in ("both", "phase-1", "phase-2-index") for f in ("json", "json_schema", "tagged", "free")]
    assert len({_make(prompt=open_prompt("text", 2, ["a"], wish)).request_hash for wish in wishes}) == len(wishes)


def test_make_request_keeps_variants_apart_that_give_the_same_shortlist() -> None:
    keys = {_make(variant=variant).request_hash for variant in VARIANTS}
    assert len(keys) == len(VARIANTS)
    assert _make(variant="both").request_hash == _make().request_hash


def test_make_request_sends_each_sample_its_own_seed() -> None:
    seeded = replace(ENDPOINT, seed=40)
    assert [_make(seeded, sample_index=i).seed for i in (0, 1, 2)] == [40, 41, 42]
    assert _make(sample_index=2).seed is None
    assert _make(seeded, sample_index=1).request_hash != _make(replace(seeded, seed=41)).request_hash


def test_make_request_takes_any_text_a_document_may_hold() -> None:
    odd = _make(prompt=open_prompt("\x00\u2028😀</document>\ud83d", 2, ["a"]))
    assert len(odd.request_hash) == 64
    assert odd.prompt_bytes > 0


def test_prompt_bytes_counts_messages_and_schema_in_bytes() -> None:
    assert _make(prompt=Prompt("é", "ab")).prompt_bytes == 4
    assert _make(prompt=Prompt("é", "ab", SCHEMA)).prompt_bytes == 4 + len('{"type": "object"}')


def test_request_body_sends_what_is_set_and_no_more() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    body = {"model": "model", "messages": messages, "temperature": 0.0, "max_completion_tokens": 100}
    assert request_body(ENDPOINT, _make(prompt=Prompt("s", "u"))) == body
    full = replace(ENDPOINT, top_p=0.9, seed=7)
    extra = {"top_p": 0.9, "seed": 8, "response_format": response_format(SCHEMA)}
    assert request_body(full, _make(full, Prompt("s", "u", SCHEMA), sample_index=1)) == body | extra


def test_response_format_is_strict() -> None:
    assert response_format(None) is None
    named = {"name": "labels", "strict": True, "schema": SCHEMA}
    assert response_format(SCHEMA) == {"type": "json_schema", "json_schema": named}
