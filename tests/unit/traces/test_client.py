import asyncio
import email.utils
import json
import time
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletion

from schemas.errors import FatalTeacherError
from tasks.traces.client import (
    AskRules,
    Prices,
    Teacher,
    is_about_document,
    price,
    retry_after_s,
)
from tasks.traces.endpoints import Endpoint
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import Answer, make_request

ENDPOINT = Endpoint("http://host/v1", "model", "open", 0.0, 100)
REQUEST = make_request(ENDPOINT, "d", "train", open_prompt("text", 2, ["a"]))
RULES = AskRules(concurrency=1, max_attempts=3, timeout_s=5.0, first_pause_s=0.001)
HTTP = httpx2.Request("POST", "http://host/v1")


def _completion(**message: Any) -> ChatCompletion:  # a JSON object: each key has its own type
    return ChatCompletion.model_validate(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "model",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "vim"} | message}],
            "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 2, "total_tokens": 3},
        }
    )


def _status(status: int, text: str = "no", code: str | None = None) -> openai.APIStatusError:
    response = httpx2.Response(status, request=HTTP)
    return openai.APIStatusError(text, response=response, body={"code": code, "message": text})


def _refused() -> openai.APITimeoutError:
    """What the aiohttp transport makes of a refused connection."""
    error = openai.APITimeoutError(request=HTTP)
    error.__cause__ = httpx2.ConnectTimeout("Connect call failed")
    return error


def _teacher(*outcomes: object, rules: AskRules = RULES, secrets: tuple[str, ...] = ()) -> tuple[Teacher, list[object]]:
    """A teacher whose endpoint gives these outcomes in turn, the last one for ever; and what it was sent."""
    sent: list[object] = []

    async def create(**request: object) -> object:
        sent.append(request)
        outcome = outcomes[min(len(sent), len(outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return await outcome() if callable(outcome) else outcome

    client: Any = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    return Teacher(client, ENDPOINT, rules, Prices(2.0, 3.0), secrets), sent


def _ask(teacher: Teacher) -> Answer:
    return asyncio.run(teacher.ask(REQUEST))


def test_ask_keeps_reasoning_apart_and_counts_cost() -> None:
    teacher, sent = _teacher(_completion(reasoning_content="because"))
    answer = _ask(teacher)
    assert (answer.completion_text, answer.reasoning_text, answer.finish_reason) == ("vim", "because", "stop")
    assert answer.cost_usd == pytest.approx(2.000006)
    assert (answer.attempt_count, len(sent), answer.error_kind) == (1, 1, None)


def test_ask_takes_reasoning_under_its_other_name() -> None:
    assert _ask(_teacher(_completion(reasoning="because"))[0]).reasoning_text == "because"


def test_ask_keeps_a_refusal_and_an_empty_answer_as_received() -> None:
    assert _ask(_teacher(_completion(content=None, refusal="I cannot"))[0]).completion_text == "I cannot"
    assert _ask(_teacher(_completion(content=None))[0]).completion_text == ""


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (_status(429), "http_429"),
        (_status(408), "http_408"),
        (_status(503), "http_503"),
        (openai.APIConnectionError(request=HTTP), "connection"),
        (openai.APITimeoutError(request=HTTP), "timeout"),
        (_refused(), "connection"),
        (json.JSONDecodeError("not JSON", "<html>", 0), "broken_body"),
        ("<html>", "broken_body"),
        (SimpleNamespace(choices=None), "broken_body"),
    ],
)
def test_ask_tries_again_after_a_passing_fault_and_in_the_end_says_which(fault: object, kind: str) -> None:
    answer = _ask(_teacher(fault, fault, _completion())[0])
    assert (answer.error_kind, answer.attempt_count) == (None, 3)
    teacher, sent = _teacher(fault)
    answer = _ask(teacher)
    assert (answer.error_kind, answer.attempt_count, len(sent)) == (kind, 3, 3)
    assert answer.completion_text is None
    assert answer.error_text


def test_ask_ends_an_attempt_that_never_finishes() -> None:
    async def drip() -> None:
        await asyncio.sleep(60)

    answer = _ask(_teacher(drip, rules=AskRules(1, 2, timeout_s=0.02, first_pause_s=0.001))[0])
    assert (answer.error_kind, answer.attempt_count) == ("timeout", 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_ask_stops_everything_where_no_request_can_succeed(status: int) -> None:
    teacher, sent = _teacher(_status(status, "because of you"))
    with pytest.raises(FatalTeacherError, match=f"http://host/v1: {status}.*because of you"):
        _ask(teacher)
    assert len(sent) == 1


def test_ask_gives_one_refused_document_its_row_without_trying_again() -> None:
    teacher, sent = _teacher(_status(400, "too much", "context_length_exceeded"))
    assert _ask(teacher).error_kind == "http_400"
    assert len(sent) == 1


def test_ask_takes_a_400_after_answers_as_about_its_document() -> None:
    teacher, _ = _teacher(_completion(), _status(400))
    assert _ask(teacher).error_kind is None
    assert _ask(teacher).error_kind == "http_400"


def test_ask_gives_up_a_teacher_whose_connections_all_fail() -> None:
    teacher, sent = _teacher(openai.APIConnectionError(request=HTTP), rules=AskRules(1, 50, 5.0, first_pause_s=0.0))
    with pytest.raises(FatalTeacherError, match="10 connections failed in a row"):
        _ask(teacher)
    assert len(sent) == 10


def test_ask_shows_no_secret_in_an_error() -> None:
    answer = _ask(_teacher(_status(500, "key sk-123 at http://me:pw@host"), secrets=("sk-123", "me:pw"))[0])
    assert answer.error_text == "key *** at http://***@host"


def test_retry_after_s_reads_milliseconds_seconds_and_dates() -> None:
    assert retry_after_s(httpx2.Headers({"retry-after-ms": "250", "retry-after": "9"})) == 0.25
    assert retry_after_s(httpx2.Headers({"retry-after": "9"})) == 9
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 25 < retry_after_s(httpx2.Headers({"retry-after": date})) <= 31
    assert retry_after_s(httpx2.Headers({"retry-after": "soon"})) == 0
    assert retry_after_s(httpx2.Headers({})) == 0


def test_ask_waits_as_long_as_the_server_asks() -> None:
    error = openai.APIStatusError(
        "slow", response=httpx2.Response(429, headers={"retry-after-ms": "80"}, request=HTTP), body=None
    )
    teacher, _ = _teacher(error, _completion())
    started = time.monotonic()
    assert _ask(teacher).attempt_count == 2
    assert time.monotonic() - started >= 0.08


def test_price_is_unknown_unless_all_is_known() -> None:
    assert price(Prices(1.0, 10.0), 1_000_000, 100_000) == pytest.approx(2.0)
    assert price(Prices(1.0, None), 1, 1) is None
    assert price(Prices(1.0, 1.0), None, 1) is None
    assert price(Prices(0.0, 0.0), 5, 5) == 0.0


def test_is_about_document_knows_lengths_and_filters() -> None:
    assert is_about_document("This model's maximum context length is 8192 tokens", None)
    assert is_about_document("", "content_filter")
    assert not is_about_document("Unrecognized request argument: temperature", None)
