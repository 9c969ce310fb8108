"""Batch lines carry the request's key; results of any order, number and state become answers or rows that say why."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tasks.traces.answers import Answer
from tasks.traces.batch import Tally, answer_of, batch_line, batch_lines, by_custom_id, read_results
from tasks.traces.endpoints import Endpoint
from tasks.traces.money import Prices
from tasks.traces.prompts import Prompt
from tasks.traces.requests import TraceRequest, make_request, request_body

ENDPOINT = Endpoint("https://api.example.org/v1", "tiny", "open", 0.0, 200, seed=7)
PRICES = Prices(1.0, 2.0)
Json = dict[str, Any]  # as a server writes it


def _request(name: str) -> TraceRequest:
    return make_request(ENDPOINT, f"doc-{name}", "train", Prompt("system", f"document {name} ü\n"), "phase-1", "tagged")


A, B, C, D = REQUESTS = [_request(name) for name in "abcd"]


@dataclass(frozen=True)
class Line:
    content: Json | None
    problem: str | None = None


def _completion(text: str = "answer", **more: Any) -> Json:
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage} | more


def _answered(request: TraceRequest, text: str = "answer") -> Json:
    response = {"status_code": 200, "request_id": "r", "body": _completion(text)}
    return {"id": "batch_req_1", "custom_id": request.request_hash, "response": response, "error": None}


def _expired(request: TraceRequest) -> Json:
    error = {"code": "batch_expired", "message": "This request could not be executed before the completion window expired."}
    return {"id": "batch_req_2", "custom_id": request.request_hash, "response": None, "error": error}


def _read(contents: Sequence[Json | None], tally: Tally, known: Sequence[TraceRequest] = ()) -> list[Answer]:
    lines = [Line(content, None if content else "out.jsonl, line 9: cannot be read") for content in contents]
    hashes = {request.request_hash for request in known}
    return list(read_results(lines, by_custom_id(REQUESTS), ENDPOINT, PRICES, tally, hashes.__contains__))


def test_batch_line_is_the_request_that_would_be_sent_at_once() -> None:
    assert json.loads(batch_line(ENDPOINT, A)) == {
        "custom_id": A.request_hash,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": request_body(ENDPOINT, A),
    }
    assert "\n" not in batch_line(ENDPOINT, A)


def test_batch_lines_writes_each_key_once() -> None:
    ids = [json.loads(line)["custom_id"] for line in batch_lines(ENDPOINT, [A, B, A, _request("a"), C])]
    assert ids == [A.request_hash, B.request_hash, C.request_hash]


def test_batch_line_holds_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret")
    assert "sk-planted-secret" not in batch_line(ENDPOINT, A)


def test_answer_of_an_answer_has_cost_and_no_latency() -> None:
    answer = answer_of(_answered(A, "text"), A, ENDPOINT, PRICES)
    assert (answer.request_hash, answer.variant, answer.asked_form) == (A.request_hash, "phase-1", "tagged")
    assert (answer.completion_text, answer.finish_reason, answer.error_kind) == ("text", "stop", None)
    assert (answer.latency_ms, answer.attempt_count) == (None, 1)
    assert answer.cost_usd == pytest.approx((10 * 1.0 + 5 * 2.0) / 1e6)


@pytest.mark.parametrize(
    "response",
    [
        {"body": _completion()},
        {"status_code": "200", "body": _completion()},
        {"status_code": 0, "body": _completion()},
        _completion(),
    ],
)
def test_answer_of_takes_an_answer_without_a_proper_status(response: Json) -> None:
    assert answer_of({"response": response}, A, ENDPOINT, PRICES).completion_text == "answer"


OWN_ERROR = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}


@pytest.mark.parametrize(
    ("result", "kind", "said"),
    [
        (_expired(A), "batch_expired", "completion window"),
        ({"response": None, "error": {"code": "batch_cancelled", "message": "stopped"}}, "batch_cancelled", "stopped"),
        ({"error": {"code": "Internal Error!", "message": "odd"}}, "batch_internal_error", "odd"),
        ({"error": {"code": "x" * 999}}, "batch_" + "x" * 34, "xxx"),
        ({"error": {"message": "no code"}}, "batch_error", "no code"),
        ({"error": {"code": ["list"], "message": {"a": 1}}}, "batch_error", "'a': 1"),
        ({"error": "plain words"}, "batch_error", "plain words"),
        ({"response": None, "error": None}, "batch_error", "neither answer nor error"),
        ({"response": "text"}, "batch_error", "neither answer nor error"),
        ({}, "batch_error", "neither answer nor error"),
        ({"response": {"status_code": 400, "body": {"error": OWN_ERROR}}, "error": None}, "http_400", "too long"),
        ({"response": {"status_code": 429, "body": None}}, "http_429", "status 429"),
        ({"response": {"status_code": 500, "body": "<html>"}}, "http_500", "<html>"),
        # vLLM: no body, the error beside the response, once wrapped and once not
        ({"response": {"status_code": 400, "body": None}, "error": {"error": OWN_ERROR | {"code": 400}}}, "http_400", "too long"),
        ({"response": {"status_code": 400, "body": None}, "error": "stream mode"}, "http_400", "stream mode"),
        ({"response": {"status_code": 200, "body": None}, "error": OWN_ERROR | {"code": 404}}, "http_404", "too long"),
        ({"response": {"status_code": 200, "body": {"choices": []}}}, "empty_choices", "no choices"),
        ({"response": {"status_code": 200, "body": [1]}}, "broken_body", "no completion object"),
        ({"response": {"status_code": 200, "body": {"choices": [{"message": 5}]}}}, "broken_body", "no message"),
    ],
)
def test_answer_of_a_failure_says_its_kind_and_what_was_said(result: Json, kind: str, said: str) -> None:
    answer = answer_of(result, A, ENDPOINT, PRICES)
    assert (answer.error_kind, answer.completion_text, answer.cost_usd) == (kind, None, None)
    assert said in str(answer.error_text)


def test_read_results_takes_lines_of_any_order() -> None:
    contents: list[Json | None] = [_answered(request, request.document_id) for request in REQUESTS]
    random.Random(3).shuffle(contents)
    tally = Tally()
    assert {(answer.request_hash, answer.completion_text) for answer in _read(contents, tally)} == {
        (request.request_hash, request.document_id) for request in REQUESTS
    }
    assert tally.describe(4) == [("answered", "4")]


def test_read_results_keeps_the_first_answer_and_an_answer_rather_than_an_error() -> None:
    tally = Tally()
    kept = _read([_expired(A), _answered(A, "1"), _answered(A, "2"), _expired(A), _expired(B), _expired(B)], tally)
    assert [(answer.request_hash, answer.completion_text) for answer in kept] == [
        (A.request_hash, None),
        (A.request_hash, "1"),
        (B.request_hash, None),
    ]
    assert (tally.answered_count, dict(+tally.failed), tally.duplicate_count) == (1, {"batch_expired": 1}, 4)


def test_read_results_leaves_alone_what_the_journal_has() -> None:
    tally = Tally()
    assert _read([_answered(A), _expired(A)], tally, known=[A]) == []
    assert (tally.known_count, tally.answered_count, tally.duplicate_count) == (2, 0, 0)


def test_read_results_counts_everything_that_came_and_did_not() -> None:
    foreign: list[Json | None] = [{"custom_id": "request-7", "response": {}}, {"custom_id": 7}, {"id": "x"}]
    tally = Tally()
    kept = _read([_answered(A), None, *foreign, _expired(B), _answered(A)], tally)
    assert [answer.request_hash for answer in kept] == [A.request_hash, B.request_hash]
    assert [name for name, _ in tally.describe(4)] == ["answered", "failed", "duplicates", "not ours", "unreadable", "no result"]
    told = dict(tally.describe(4))
    assert (told["answered"], told["failed"], told["duplicates"], told["no result"]) == ("1", "1: 1 batch_expired", "1", "2")
    assert told["not ours"].startswith("3, of other settings")
    assert told["unreadable"] == "1: out.jsonl, line 9: cannot be read"


def test_by_custom_id_keeps_no_texts() -> None:
    assert by_custom_id([A])[A.request_hash].prompt == Prompt("", "")
    assert by_custom_id([A])[A.request_hash].messages_hash == A.messages_hash
