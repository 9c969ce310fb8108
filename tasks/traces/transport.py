"""One attempt over HTTP: the answer whole or streamed, read with distrust; foreign exceptions become ours here."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import httpx2
import openai

from tasks.traces.answers import (
    CUT,
    BrokenAnswerError,
    Received,
    content_text,
    read_completion,
    read_usage,
    reasoning_of,
    seen,
    storable,
)
from tasks.traces.endpoints import Endpoint
from tasks.traces.failures import RetryableError, said, status_error
from tasks.traces.money import Usage
from tasks.traces.requests import TraceRequest, request_body

PATH = "/chat/completions"
CONNECT_S = 10.0
PART_OF_SECRET = 6
"""So many characters of a key's beginning are worth hiding."""

LONGEST_MESSAGE = 2000
"""Characters of a server's words that an error repeats."""


@dataclass(frozen=True)
class Patience:
    """Deadlines, seconds; null: none. `timeout_s` is for a whole answer, `idle_timeout_s` for a silence within a stream."""

    timeout_s: float | None
    idle_timeout_s: float | None
    is_streaming: bool


@dataclass
class Pieces:
    """What came of a streamed answer so far."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    has_choice: bool = False

    def add(self, chunk: object) -> None:
        """Take one `chat.completion.chunk`; choices after the first are left out."""
        if not isinstance(chunk, Mapping):
            raise BrokenAnswerError("broken_body", f"a piece of the stream is no object: {seen(chunk)}")
        if chunk.get("usage"):
            self.usage = read_usage(chunk["usage"])
        choices = chunk.get("choices") or []
        if not isinstance(choices, list):
            raise BrokenAnswerError("broken_body", f"the choices of a piece are no list: {seen(chunk)}")
        for choice in choices:
            if isinstance(choice, Mapping) and not choice.get("index"):
                self._add_choice(choice)

    def _add_choice(self, choice: Mapping[str, Any]) -> None:  # a JSON object: each key has its own type
        self.has_choice = True
        given = choice.get("delta")
        delta = given if isinstance(given, Mapping) else {}
        self.content.append(content_text(delta.get("content")) or content_text(delta.get("refusal")) or "")
        self.reasoning.append(reasoning_of(delta) or "")
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"]

    @property
    def is_empty(self) -> bool:
        """Whether no text has come."""
        return not any(self.content) and not any(self.reasoning)

    def received(self, is_cut: bool) -> Received:
        """The answer as it stands."""
        finish = CUT if is_cut else self.finish_reason
        return Received("".join(self.content), "".join(self.reasoning) or None, finish, self.usage)


class StreamCutError(RetryableError):
    """The stream ended before the answer did; `received` is what came."""

    def __init__(self, message: str, received: Received) -> None:
        """Keep what came."""
        super().__init__("connection", message, may_be_billed=True)
        self.received = received


class Transport:
    """Sends one request at a time to an endpoint; knows no retries."""

    def __init__(self, client: openai.AsyncOpenAI, endpoint: Endpoint, patience: Patience, secrets: Sequence[str]) -> None:
        """Send through `client`; `secrets` never appear in an error text."""
        self._client = client
        self._endpoint = endpoint
        self._patience = patience
        self._secrets = [secret for secret in secrets if secret]
        self._has_answered = False

    async def complete(self, request: TraceRequest) -> Received:
        """One completion.

        Raises:
            RetryableError: what went wrong may pass; a `StreamCutError` holds what came.
            RejectedRequestError: the server does not take this request.
            SchemaRefusedError: the server does not take structured output.
            FatalTeacherError: no request can succeed.
        """
        # `from None`: what a server says may hold the key, and whoever logs our error logs its cause too
        try:
            received = await (self._stream(request) if self._patience.is_streaming else self._whole(request))
        except openai.APIStatusError as exc:
            text, has_schema = self.safe(said(exc)), request.prompt.response_schema is not None
            raise status_error(self._endpoint.name, exc, text, self._has_answered, has_schema) from None
        except (TimeoutError, openai.APIConnectionError) as exc:
            raise self._connection_error(exc) from None
        except BrokenAnswerError as exc:
            raise RetryableError(exc.kind, self.safe(exc), may_be_billed=True) from None
        except (openai.APIError, httpx2.HTTPError, UnicodeDecodeError) as exc:
            raise RetryableError("broken_body", f"the answer is no completion: {self.safe(exc)}", may_be_billed=True) from None
        self._has_answered = True
        return self._without_secrets(received)

    async def _whole(self, request: TraceRequest) -> Received:
        async with asyncio.timeout(self._patience.timeout_s):
            response = await self._client.post(PATH, body=request_body(self._endpoint, request), cast_to=httpx2.Response)
        return read_response(response, "JSON")

    async def _stream(self, request: TraceRequest) -> Received:
        body = request_body(self._endpoint, request) | {"stream": True, "stream_options": {"include_usage": True}}
        async with asyncio.timeout(self._patience.idle_timeout_s) as idle:
            stream = await self._client.post(PATH, body=body, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object])
            if "event-stream" not in stream.response.headers.get("content-type", "text/event-stream").lower():
                await stream.response.aread()  # a server that overlooks `stream` answers at once
                return read_response(stream.response, "a stream")
            pieces = Pieces()
            try:
                async for chunk in stream:
                    pieces.add(chunk)
                    self._still_there(idle)
            except (openai.APIError, httpx2.HTTPError, OSError, ValueError, RecursionError, asyncio.CancelledError) as exc:
                await stream.close()
                if isinstance(exc, asyncio.CancelledError) and not idle.expired():
                    raise
                if pieces.finish_reason is None:  # else the answer was whole before
                    raise self._cut(pieces, exc) from None
        if pieces.finish_reason is None:
            raise self._cut(pieces, "the stream ended without a finish_reason")
        return pieces.received(is_cut=False)

    def _still_there(self, idle: asyncio.Timeout) -> None:
        if self._patience.idle_timeout_s is not None:
            idle.reschedule(asyncio.get_running_loop().time() + self._patience.idle_timeout_s)

    def _cut(self, pieces: Pieces, why: object) -> RetryableError:
        if not pieces.has_choice and not isinstance(why, BaseException):
            return RetryableError("empty_choices", f"the stream had no choices: {self.safe(why)}", may_be_billed=True)
        if pieces.is_empty and isinstance(why, openai.APIConnectionError | httpx2.HTTPError | OSError | asyncio.CancelledError):
            return self._connection_error(why)
        reason = f"nothing for {self._patience.idle_timeout_s} s" if isinstance(why, asyncio.CancelledError) else self.safe(why)
        text = f"the stream broke off after {sum(map(len, [*pieces.content, *pieces.reasoning]))} characters: {reason}"
        return (
            RetryableError("broken_body", text, may_be_billed=True)
            if pieces.is_empty
            else StreamCutError(text, self._without_secrets(pieces.received(is_cut=True)))
        )

    def _connection_error(self, error: BaseException) -> RetryableError:
        # the aiohttp transport calls a refused or dropped connection a ConnectTimeout
        cause = error.__cause__
        is_broken = isinstance(cause, httpx2.ConnectTimeout)
        is_unreached = isinstance(cause and cause.__cause__, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
        if isinstance(error, TimeoutError | openai.APITimeoutError | asyncio.CancelledError) and not is_broken:
            patience = self._patience
            limit = patience.idle_timeout_s if patience.is_streaming else patience.timeout_s
            wanted = "piece of an answer" if patience.is_streaming else "whole answer"
            return RetryableError("timeout", f"no {wanted} within {limit} s", may_be_billed=True)
        return RetryableError("connection", self.safe(cause or error), is_connection=True, may_be_billed=not is_unreached)

    def _without_secrets(self, received: Received) -> Received:
        """A server that echoes the key does not get it into our tables."""
        reasoning, finish = received.reasoning_text, received.finish_reason
        return replace(
            received,
            completion_text=self._masked(received.completion_text),
            reasoning_text=None if reasoning is None else self._masked(reasoning),
            finish_reason=None if finish is None else self._masked(finish),
        )

    def safe(self, value: object) -> str:
        """The value's text without secrets, cut to what a message can hold."""
        text = storable(self._masked(str(value) or type(value).__name__))
        for secret in self._secrets:
            for length in range(len(secret) - 1, PART_OF_SECRET - 1, -1):  # a clipped text may end within it
                text = text.replace(secret[:length] + "…", "***…")
        return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def read_response(response: httpx2.Response, wanted: str) -> Received:
    """The completion that a whole response holds.

    Raises:
        BrokenAnswerError: it holds none; `wanted` is what was expected instead of another type.
    """
    kind = response.headers.get("content-type", "application/json")
    if "json" not in kind.lower():
        raise BrokenAnswerError("wrong_content_type", f"the answer is {kind}, not {wanted}: {seen(response.text)}")
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError) as exc:
        raise BrokenAnswerError("broken_body", f"the answer is no JSON ({exc}): {seen(response.text)}") from exc
    return read_completion(body)


def open_client(base_url: str, api_key: str, concurrency: int) -> openai.AsyncOpenAI:
    """A client that neither retries nor waits on its own: both are ours. Close it after use."""
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs a line with the whole address for every request
    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    timeout = httpx2.Timeout(None, connect=CONNECT_S)
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=api_key,
        max_retries=0,
        timeout=timeout,
        http_client=openai.DefaultAioHttpClient(limits=limits, timeout=timeout),
    )
