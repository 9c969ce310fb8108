import asyncio
import email.utils
import time
from dataclasses import replace

import pytest

from schemas.errors import FatalTeacherError, SchemaRefusedError
from tasks.traces.answers import Received
from tasks.traces.failures import RejectedRequestError, RetryableError
from tasks.traces.money import Usage
from tasks.traces.prompts import Wish, open_prompt
from tasks.traces.requests import make_request
from tasks.traces.transport import Patience, StreamCutError, Transport
from tests.support.attempts import (
    ENDPOINT,
    KEY,
    REQUEST,
    SHORT_WHOLE,
    STREAMED,
    WHOLE,
    Outcome,
    one_answer,
    one_error,
    outcome,
    outcomes,
    quick_client,
)
from tests.support.scripted_server import (
    DROPPED,
    HUNG,
    USAGE,
    Reply,
    completion,
    delta,
    dripping,
    error_reply,
    json_reply,
    serving,
    stream,
    usage_chunk,
)

WITH_SCHEMA = make_request(ENDPOINT, "d", "train", open_prompt("text", 2, ["a"], Wish("both", "json_schema")))
ENDED = delta(None, "stop")
NESTED = b"[" * 100_000


def test_complete_sends_the_request_and_reads_the_answer() -> None:
    sent: list[dict[str, object]] = []
    [outcome] = outcomes(completion(), sent=sent)
    assert outcome == Received("vim", None, "stop", Usage(100, None, 20, None))
    assert sent == [
        {
            "model": "model",
            "messages": REQUEST.prompt.messages(),
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
            "max_completion_tokens": 100,
        }
    ]


def test_complete_sends_the_schema_of_a_request_that_has_one() -> None:
    sent: list[dict[str, object]] = []
    outcomes(completion(), request=WITH_SCHEMA, sent=sent)
    schema = {"name": "labels", "strict": True, "schema": WITH_SCHEMA.prompt.response_schema}
    assert sent[0]["response_format"] == {"type": "json_schema", "json_schema": schema}


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_complete_takes_reasoning_under_either_name(field: str) -> None:
    assert one_answer(completion(**{field: "because"})).reasoning_text == "because"
    pieces = stream(delta(None, None, 0, **{field: "be"}), delta("vim", None, 0, **{field: "cause"}), ENDED)
    assert one_answer(pieces, STREAMED) == Received("vim", "because", "stop", Usage())


def test_complete_takes_parts_refusals_and_nothing_as_they_are() -> None:
    parts = [{"type": "text", "text": "vi"}, {"type": "image"}, "x", {"text": "m"}]
    assert one_answer(completion(parts)).completion_text == "vim"
    assert one_answer(stream(delta(parts), ENDED), STREAMED).completion_text == "vim"
    assert one_answer(completion(None, refusal="I cannot")).completion_text == "I cannot"
    assert one_answer(stream(delta(None, refusal="I cannot"), ENDED), STREAMED).completion_text == "I cannot"
    assert one_answer(completion(None)).completion_text == ""


def test_complete_reads_usage_in_detail() -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 15}}
    known = Usage(100, 64, 20, 15)
    assert one_answer(completion(usage=usage)).usage == known
    assert one_answer(stream(delta("vim"), ENDED, usage_chunk(usage)), STREAMED).usage == known
    assert known.answer_tokens == 5


def test_complete_takes_the_first_of_two_choices() -> None:
    two = {"choices": [{"index": i, "message": {"content": text}, "finish_reason": "stop"} for i, text in enumerate("ab")]}
    assert one_answer(json_reply(two)).completion_text == "a"
    pieces = stream(delta("b", index=1), delta("a"), delta("b", index=1), delta(None, "stop", index=1), delta("a"), ENDED)
    assert one_answer(pieces, STREAMED).completion_text == "aa"


def test_complete_takes_two_megabytes() -> None:
    assert len(one_answer(completion("x" * 2_000_000)).completion_text) == 2_000_000
    pieces = stream(*[delta("x" * 100_000)] * 20, ENDED)
    assert len(one_answer(pieces, STREAMED).completion_text) == 2_000_000


@pytest.mark.parametrize(
    ("reply", "kind", "may_be_billed"),
    [
        (error_reply(408, "slow"), "http_408", False),
        (error_reply(409, "conflict"), "http_409", False),
        (error_reply(425, "early"), "http_425", False),
        (error_reply(429, "busy"), "http_429", False),
        (error_reply(500, "down"), "http_500", False),
        (Reply(503, b"<html>", "text/html"), "http_503", False),
        (error_reply(529, "overloaded"), "http_529", False),
        (DROPPED, "connection", True),
        (Reply(body=b'{"choices": [', missing_bytes=50), "connection", True),
        (Reply(parts=(b'{"choices": [',), is_cut=True), "connection", True),
        (Reply(body=b"<html>", content_type="text/html"), "wrong_content_type", True),
        (Reply(body=b'{"choices": ['), "broken_body", True),
        (Reply(body=b""), "broken_body", True),
        (Reply(body=b'{"choices": "\xff"}'), "broken_body", True),
        (Reply(body=NESTED), "broken_body", True),
        (json_reply(None), "broken_body", True),
        (json_reply({"choices": [None]}), "broken_body", True),
        (json_reply({"choices": [{"message": "hi"}]}), "broken_body", True),
        (json_reply({"choices": []}), "empty_choices", True),
        (json_reply({"error": {"message": "overloaded"}}), "empty_choices", True),
    ],
)
def test_complete_says_what_may_pass(reply: Reply, kind: str, may_be_billed: bool) -> None:
    error = one_error(reply)
    assert isinstance(error, RetryableError)
    assert (error.kind, error.may_be_billed, error.is_connection) == (kind, may_be_billed, kind == "connection")
    assert str(error)


@pytest.mark.parametrize("reply", [HUNG, dripping(completion(), 8, 0.02)])
def test_complete_ends_an_attempt_that_takes_too_long(reply: Reply) -> None:
    error = one_error(reply, patience=SHORT_WHOLE)
    assert isinstance(error, RetryableError)
    assert (error.kind, error.may_be_billed, error.is_connection) == ("timeout", True, False)
    assert "0.1 s" in str(error)


def test_complete_says_that_nothing_was_reached() -> None:
    async def run() -> Outcome:
        async with serving(completion()) as server:
            closed = server.base_url
        async with quick_client(closed) as client:
            return await outcome(Transport(client, ENDPOINT, WHOLE, []), REQUEST)

    error = asyncio.run(run())
    assert isinstance(error, RetryableError)
    assert (error.kind, error.is_connection, error.may_be_billed) == ("connection", True, False)


def test_complete_waits_without_an_end_where_none_is_set() -> None:
    patience = Patience(timeout_s=None, idle_timeout_s=None, is_streaming=False)
    assert one_answer(dripping(completion(), 80, 0.05), patience).completion_text == "vim"
    silent = stream(0.15, delta("vim"), 0.15, ENDED)
    assert one_answer(silent, replace(patience, is_streaming=True)).completion_text == "vim"


@pytest.mark.parametrize("kind", [None, "Application/JSON; charset=UTF-8", "application/problem+json"])
def test_complete_takes_json_however_its_type_is_written(kind: str | None) -> None:
    assert one_answer(replace(completion(), content_type=kind)).completion_text == "vim"


@pytest.mark.parametrize("patience", [WHOLE, STREAMED])
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_complete_stops_everything_where_no_request_can_succeed(status: int, patience: Patience) -> None:
    error = one_error(error_reply(status, "because of you"), patience=patience)
    assert isinstance(error, FatalTeacherError)
    assert f"http://host/v1: {status}, " in str(error)
    assert "because of you" in str(error)


def test_complete_takes_a_400_after_an_answer_as_about_its_document() -> None:
    first, second, third = outcomes(completion(), error_reply(400, "odd text"), error_reply(401, "revoked"))
    assert isinstance(first, Received)
    assert isinstance(second, RejectedRequestError)
    assert second.kind == "http_400"
    assert isinstance(third, FatalTeacherError)


def test_complete_takes_a_400_about_a_document_as_such_before_any_answer() -> None:
    error = one_error(error_reply(400, "too much", "context_length_exceeded"))
    assert isinstance(error, RejectedRequestError)
    assert error.kind == "http_400"


@pytest.mark.parametrize(
    "refusal",
    [
        error_reply(400, "Unsupported parameter: response_format"),
        json_reply({"error": "response_format is not supported"}, 400),
        json_reply({"detail": [{"loc": ["body", "response_format"], "msg": "extra"}]}, 422),
        Reply(400, b"json_schema: not supported", "text/plain"),
    ],
)
def test_complete_knows_a_refused_schema_if_it_sent_one(refusal: Reply) -> None:
    assert isinstance(one_error(completion(), refusal, request=WITH_SCHEMA), SchemaRefusedError)
    assert not isinstance(one_error(completion(), refusal), SchemaRefusedError)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25, 0.25),
        ({"Retry-After": "9"}, 9, 9),
        ({"Retry-After": email.utils.formatdate(time.time() + 3600, usegmt=True)}, 3000, 3600),
        ({}, 0, 0),
    ],
)
def test_complete_says_how_long_the_server_asks_to_wait(headers: dict[str, str], low: float, high: float) -> None:
    error = one_error(error_reply(429, "slow", headers=headers))
    assert isinstance(error, RetryableError)
    assert low <= error.pause_s <= high


@pytest.mark.parametrize("patience", [WHOLE, STREAMED])
@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
@pytest.mark.parametrize("padding", [0, 190])
def test_complete_shows_no_part_of_a_secret_in_an_error(status: int, padding: int, patience: Patience) -> None:
    words = "x" * padding + f"{KEY} " + "y" * 200
    for reply in (error_reply(status, words), Reply(status, words.encode(), "text/plain")):
        text = str(one_error(reply, patience=patience))
        assert KEY[:6] not in text
        assert len(text) < 2500


def test_complete_takes_no_secret_from_an_answer_that_echoes_it() -> None:
    hidden = Received("key ***", "hm ***", "***", Usage(100, None, 20, None))
    assert one_answer(completion(f"key {KEY}", finish_reason=KEY, reasoning=f"hm {KEY}")) == hidden
    pieces = (delta("key sk-sec"), delta(f"{KEY[6:]}", reasoning=f"hm {KEY}"), delta(None, KEY))
    assert one_answer(stream(*pieces, usage_chunk()), STREAMED) == hidden
    assert one_answer(completion("", reasoning=KEY)).completion_text == ""
    cut = one_error(stream(*pieces[:2], is_cut=True), patience=STREAMED)
    assert isinstance(cut, StreamCutError)
    assert cut.received.completion_text == "key ***"


def test_complete_shortens_what_a_server_says_without_end() -> None:
    assert len(str(one_error(error_reply(500, "x" * 2_000_000)))) < 2500


def test_complete_mends_characters_that_no_table_can_hold() -> None:
    assert one_answer(completion("a\ud83d\ude00b\ud83d", reasoning="\udc00")).completion_text == "a😀b?"
    assert one_answer(completion("a", reasoning="\udc00", finish_reason="\ud800")) == Received(
        "a", "?", "?", Usage(100, None, 20)
    )
    assert one_answer(stream(delta("a\ud83d"), ENDED), STREAMED).completion_text == "a?"
    assert str(one_error(error_reply(500, "a\ud83d"))) == "Error code: 500 - a?"
