"""Single attempts of the real client at a scripted server, and what they come to."""

import asyncio
import ssl
from dataclasses import replace
from functools import cache
from typing import Any
from unittest import mock

import httpx2
import openai

from schemas.errors import TeacherError
from tasks.traces.answers import Received
from tasks.traces.endpoints import Endpoint
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import TraceRequest, make_request
from tasks.traces.transport import Patience, Transport, open_client
from tests.support.scripted_server import Script, serving

ENDPOINT = Endpoint("http://host/v1", "model", "open", 0.5, 100, top_p=0.9, seed=7)
REQUEST = make_request(ENDPOINT, "d", "train", open_prompt("text", 2, ["a"]))
KEY = "sk-secret-0123456789"
WHOLE = Patience(timeout_s=5.0, idle_timeout_s=None, is_streaming=False)
STREAMED = Patience(timeout_s=None, idle_timeout_s=5.0, is_streaming=True)
SHORT_WHOLE = replace(WHOLE, timeout_s=0.1)
SHORT_STREAMED = replace(STREAMED, idle_timeout_s=0.1)

Outcome = Received | TeacherError


def quick_client(base_url: str, concurrency: int = 4) -> openai.AsyncOpenAI:
    """The real client; all share one TLS context, which takes 20 ms to make and is not used here."""
    with mock.patch.object(httpx2, "create_ssl_context", lambda **_: _tls()):
        return open_client(base_url, KEY, concurrency)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def outcomes(
    *replies: Script,
    patience: Patience = WHOLE,
    request: TraceRequest = REQUEST,
    sent: list[dict[str, Any]] | None = None,  # JSON objects: each key has its own type
) -> list[Outcome]:
    """What one attempt after the other comes to, each with its own reply; `sent` takes the bodies."""

    async def run() -> list[Outcome]:
        async with serving(*replies) as server, quick_client(server.base_url) as client:
            transport = Transport(client, ENDPOINT, patience, [KEY, ""])
            ended = [await outcome(transport, request) for _ in replies]
            (sent if sent is not None else []).extend(server.bodies)
            return ended

    return asyncio.run(run())


async def outcome(transport: Transport, request: TraceRequest) -> Outcome:
    """The answer, or the error of ours."""
    try:
        return await transport.complete(request)
    except TeacherError as exc:
        return exc


def one_answer(reply: Script, patience: Patience = WHOLE) -> Received:
    """The answer of one attempt that must succeed."""
    [ended] = outcomes(reply, patience=patience)
    assert isinstance(ended, Received), ended
    return ended


def one_error(*replies: Script, patience: Patience = WHOLE, request: TraceRequest = REQUEST) -> TeacherError:
    """The error of the last of some attempts, which must fail."""
    ended = outcomes(*replies, patience=patience, request=request)[-1]
    assert isinstance(ended, TeacherError), ended
    return ended
