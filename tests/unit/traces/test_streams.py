from dataclasses import replace

import pytest

from tasks.traces.answers import CUT, Received
from tasks.traces.failures import RetryableError
from tasks.traces.money import Usage
from tasks.traces.transport import StreamCutError
from tests.support.attempts import SHORT_STREAMED, STREAMED, one_answer, one_error, outcomes
from tests.support.scripted_server import DROPPED, HUNG, Reply, completion, delta, error_reply, stream, usage_chunk

VIM = (delta("vi"), delta("m"))
ENDED = delta(None, "stop")
NESTED = b"[" * 100_000


def test_complete_asks_for_a_stream_with_usage_and_joins_its_pieces() -> None:
    sent: list[dict[str, object]] = []
    [outcome] = outcomes(stream(*VIM, ENDED, usage_chunk()), patience=STREAMED, sent=sent)
    assert outcome == Received("vim", None, "stop", Usage(100, None, 20, None))
    assert (sent[0]["stream"], sent[0]["stream_options"]) == (True, {"include_usage": True})


@pytest.mark.parametrize(
    ("reply", "kept", "said"),
    [
        (stream(*VIM, is_cut=True), "vim", "3 characters"),
        (stream(*VIM), "vim", "without a finish_reason"),
        (stream(*VIM, is_done=False), "vim", "without a finish_reason"),
        (stream(*VIM, b"data: {brok\n\n", ENDED), "vim", "Expecting property name"),
        (stream(*VIM, b"data: " + NESTED + b"\n\n", ENDED), "vim", "recursion"),
        (stream(*VIM, b'data: "\xff"\n\n', ENDED), "vim", "utf-8"),
        (stream(*VIM, {"error": {"message": "out of memory"}}), "vim", "out of memory"),
        (stream(*VIM, [1], ENDED), "vim", "no object"),
        (stream(*VIM, {"choices": 5}, ENDED), "vim", "no list"),
        (stream(delta(None, reasoning="be"), is_cut=True), "", "2 characters"),
    ],
)
def test_complete_keeps_what_came_of_a_cut_stream(reply: Reply, kept: str, said: str) -> None:
    error = one_error(reply, patience=STREAMED)
    assert isinstance(error, StreamCutError)
    assert (error.kind, error.may_be_billed, error.is_connection) == ("connection", True, False)
    assert (error.received.completion_text, error.received.finish_reason) == (kept, CUT)
    assert said in str(error)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (DROPPED, "connection"),
        (stream(is_cut=True), "connection"),
        (stream(delta(""), is_cut=True), "connection"),
        (stream(b"data: {brok\n\n"), "broken_body"),
        (stream({"error": {"message": "overloaded"}}), "broken_body"),
        (stream(delta("")), "broken_body"),
        (stream(), "empty_choices"),
        (stream({"choices": []}), "empty_choices"),
        (error_reply(503, "down"), "http_503"),
        (Reply(body=b"<html>", content_type="text/html"), "wrong_content_type"),
        (Reply(body=b"{brok"), "broken_body"),
        (Reply(body=NESTED), "broken_body"),
    ],
)
def test_complete_says_what_became_of_a_stream_without_text(reply: Reply, kind: str) -> None:
    error = one_error(reply, patience=STREAMED)
    assert isinstance(error, RetryableError)
    assert not isinstance(error, StreamCutError)
    assert (error.kind, bool(str(error))) == (kind, True)


def test_complete_ends_a_stream_that_falls_silent_and_keeps_what_came() -> None:
    error = one_error(stream(*VIM, 5.0, ENDED), patience=SHORT_STREAMED)
    assert isinstance(error, StreamCutError)
    assert (error.received.completion_text, error.received.finish_reason, error.may_be_billed) == ("vim", CUT, True)
    assert "0.1 s" in str(error)


@pytest.mark.parametrize("reply", [HUNG, stream(5.0, *VIM), stream(delta(""), 5.0)])
def test_complete_ends_a_stream_that_does_not_begin(reply: Reply) -> None:
    error = one_error(reply, patience=SHORT_STREAMED)
    assert isinstance(error, RetryableError)
    assert not isinstance(error, StreamCutError)
    assert (error.kind, error.may_be_billed) == ("timeout", True)


@pytest.mark.parametrize("end", [stream(*VIM, ENDED, is_cut=True), stream(*VIM, ENDED, 5.0, is_done=False)])
def test_complete_takes_a_stream_that_is_cut_after_its_answer(end: Reply) -> None:
    assert one_answer(end, SHORT_STREAMED) == Received("vim", None, "stop", Usage())


def test_complete_waits_for_a_stream_as_long_as_pieces_come() -> None:
    slow = [part for piece in "a long answer" for part in (delta(piece), 0.03)]
    assert one_answer(stream(*slow, ENDED), replace(STREAMED, idle_timeout_s=0.2)).completion_text == "a long answer"


def test_complete_takes_a_whole_answer_of_a_server_that_overlooks_stream() -> None:
    assert one_answer(completion(), STREAMED) == Received("vim", None, "stop", Usage(100, None, 20, None))
