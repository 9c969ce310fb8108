import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from schemas.errors import TeacherError
from schemas.tables import RAW_TRACES
from tasks.traces.endpoints import Endpoint
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import Answer, asking_cost, make_request, refuse_failures, trace_rows, unanswered

ENDPOINT = Endpoint("http://host/v1", "model", "open", 0.0, 100)
PROMPT = open_prompt("text", 2, ["a"])
CHANGES = [{"name": "http://other/v1"}, {"model": "other"}, {"temperature": 0.5}, {"max_completion_tokens": 99}]


def _answer(key: str, **changes: object) -> Answer:
    values = {
        "request_hash": key,
        "messages_hash": "m",
        "teacher": "model",
        "endpoint": "http://host/v1",
        "prompt_kind": "open",
        "sample_index": 0,
        "asked_at": datetime(2026, 1, 1, tzinfo=UTC),
        "attempt_count": 1,
        "completion_text": "vim",
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_usd": 0.5,
    }
    return Answer.model_validate(values | changes)


def _failed(key: str) -> Answer:
    nothing = {"completion_text": None, "prompt_tokens": None, "completion_tokens": None, "cost_usd": None}
    return _answer(key, error_kind="http_500", error_text="down", **nothing)


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


def test_unanswered_takes_each_key_once_and_failures_again() -> None:
    same = [make_request(ENDPOINT, name, "train", PROMPT) for name in ("d", "e")]
    key = same[0].request_hash
    assert [r.document_id for r in unanswered(same, {})] == ["e"]
    assert len(unanswered(same, {key: _failed(key)})) == 1
    assert unanswered(same, {key: _answer(key)}) == []


def test_trace_rows_gives_every_document_its_row() -> None:
    asked = [make_request(ENDPOINT, "d", "train", PROMPT), make_request(ENDPOINT, "e", "test", PROMPT)]
    key = asked[0].request_hash
    frame = trace_rows("set", asked, {key: _answer(key, reasoning_text="because")})
    assert frame.schema == RAW_TRACES.schema
    assert frame["document_id"].to_list() == ["d", "e"]
    assert frame["split"].to_list() == ["train", "test"]
    assert frame["reasoning_text"].to_list() == ["because"] * 2
    assert frame["asked_at"][0] == datetime(2026, 1, 1, tzinfo=UTC)


def test_answer_reads_back_what_it_wrote() -> None:
    answer = _answer("k", completion_text="a\n\u2028é\x00")
    assert Answer.model_validate_json(answer.model_dump_json()) == answer
    assert "\n" not in answer.model_dump_json()


def test_refuse_failures_names_kinds_and_shares() -> None:
    refuse_failures([_answer("a"), _failed("b")], 0.5)
    with pytest.raises(TeacherError, match=r"1 of 2 requests failed \(0.500 > max_error_frac 0.4\): 1 http_500"):
        refuse_failures([_answer("a"), _failed("b")], 0.4)


def test_asking_cost_sums_and_keeps_unknown_unknown() -> None:
    known = asking_cost([_answer("a"), _answer("b"), _failed("c")], 7)
    assert (known.request_count, known.prompt_tokens, known.completion_tokens, known.cost_usd) == (3, 20, 10, 1.0)
    assert (known.rows_in_count, known.rejected_count) == (7, 1)
    assert asking_cost([_answer("a"), _answer("b", cost_usd=None)], 2).cost_usd is None
    assert asking_cost([_answer("a", prompt_tokens=None)], 1).prompt_tokens is None


def test_asking_cost_of_nothing_is_no_tokens() -> None:
    nothing = asking_cost([], 2)
    assert (nothing.request_count, nothing.prompt_tokens, nothing.completion_tokens) == (0, 0, 0)
