"""Ask an OpenAI-compatible endpoint many questions at once: own retries, a deadline an attempt, answers in batches."""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import openai

from schemas.errors import FatalTeacherError, TransientTeacherError
from tasks.traces.requests import Answer, Endpoint, TraceRequest

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
COMMIT_S = 0.05
"""Answers that arrive within this time are kept together: one flush to disk for all of them."""

Keep = Callable[[Sequence[Answer]], None]
Count = Callable[[Answer], None]


@dataclass(frozen=True)
class Access:
    """How the endpoint is reached and what it costs; the key never leaves this object."""

    base_url: str
    api_key: str
    concurrency: int
    max_attempts: int
    timeout_s: float
    prompt_usd_per_million: float | None = None
    completion_usd_per_million: float | None = None

    def __repr__(self) -> str:
        """Without the key."""
        return f"Access(base_url={self.base_url!r}, concurrency={self.concurrency})"


class AttemptError(TransientTeacherError):
    """One attempt failed in a way that may pass; `pause_s` is what the server asked for, if it did."""

    def __init__(self, kind: str, text: str, pause_s: float | None = None) -> None:
        """Take the class of the failure and its message."""
        super().__init__(text)
        self.kind = kind
        self.pause_s = pause_s


def ask_all(requests: Sequence[TraceRequest], endpoint: Endpoint, access: Access, keep: Keep, count: Count) -> None:
    """Ask every request; `keep` gets answers in batches and must store them before it returns, then each is counted.

    Raises:
        FatalTeacherError: no request can succeed; what was answered is kept.
    """
    try:
        asyncio.run(_Session(requests, endpoint, access, keep, count).run())
    except* FatalTeacherError as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[Any]) -> FatalTeacherError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


class _Session:
    """One run of many requests: workers take from one queue, a writer keeps what they bring."""

    def __init__(self, requests: Sequence[TraceRequest], endpoint: Endpoint, access: Access, keep: Keep, count: Count) -> None:
        self._waiting = deque(requests)
        self._endpoint, self._access, self._keep, self._count = endpoint, access, keep, count
        self._done: asyncio.Queue[Answer] = asyncio.Queue()
        self._last_success = 0.0
        self._draw = random.Random()  # spreads pauses; not part of any result

    async def run(self) -> None:
        async with openai.AsyncOpenAI(
            base_url=self._access.base_url,
            api_key=self._access.api_key,
            max_retries=0,
            timeout=self._access.timeout_s,
            http_client=openai.DefaultAioHttpClient(),
        ) as client:
            writer = asyncio.create_task(self._write())
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._access.concurrency, len(self._waiting))):
                        group.create_task(self._work(client, writer))
            finally:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
                self._flush()

    async def _work(self, client: openai.AsyncOpenAI, writer: "asyncio.Task[None]") -> None:
        while self._waiting:
            if writer.done():  # the disk failed: nothing more is asked that could not be kept
                writer.result()
            await self._done.put(await self._ask(client, self._waiting.popleft()))

    async def _write(self) -> None:
        while True:
            batch = [await self._done.get()]
            await asyncio.sleep(COMMIT_S)
            while not self._done.empty():
                batch.append(self._done.get_nowait())
            self._store(batch)

    def _flush(self) -> None:
        batch = []
        while not self._done.empty():
            batch.append(self._done.get_nowait())
        if batch:
            self._store(batch)

    def _store(self, batch: list[Answer]) -> None:
        self._keep(batch)
        for answer in batch:
            self._count(answer)

    async def _ask(self, client: openai.AsyncOpenAI, request: TraceRequest) -> Answer:
        """The answer, or after the last attempt the error as an answer row."""
        started = time.monotonic()
        for attempt in range(1, self._access.max_attempts + 1):
            sent = time.monotonic()
            try:
                completion = await self._attempt(client, request)
            except AttemptError as exc:
                error = exc
            else:
                self._last_success = time.monotonic()
                return self._answer(request, attempt, 1000 * (self._last_success - sent), completion_values(completion))
            if attempt < self._access.max_attempts:
                await asyncio.sleep(pause_s(attempt, error.pause_s, self._draw))
        if error.kind == "APIConnectionError" and self._last_success < started:
            raise FatalTeacherError(
                f"teacher at {self._endpoint.name}: no connection in {self._access.max_attempts} attempts ({error}); "
                "answers so far are kept; start it, or mend teacher.base_url, and run the same command again"
            )
        failed = {"error_kind": error.kind, "error_text": str(error)[:500]}
        return self._answer(request, self._access.max_attempts, None, failed)

    async def _attempt(self, client: openai.AsyncOpenAI, request: TraceRequest) -> Any:
        """One completion.

        Raises:
            AttemptError: it may pass.
            FatalTeacherError: it will not.
        """
        try:
            async with asyncio.timeout(self._access.timeout_s):
                return with_choices(
                    await client.chat.completions.create(
                        model=self._endpoint.model,
                        messages=request.prompt.messages(),  # type: ignore[arg-type]  # plain dicts are what is sent
                        temperature=self._endpoint.temperature,
                        max_completion_tokens=self._endpoint.max_completion_tokens,
                    )
                )
        except TimeoutError as exc:
            raise AttemptError("Timeout", f"no whole answer within teacher.timeout_s = {self._access.timeout_s:g}") from exc
        except openai.APIStatusError as exc:
            raise status_error(exc, self._endpoint) from exc
        except openai.APIConnectionError as exc:
            raise AttemptError(type(exc).__name__, f"{exc} ({exc.__cause__!r})") from exc
        except (json.JSONDecodeError, openai.APIResponseValidationError) as exc:
            raise AttemptError("BrokenBody", f"the body is not a completion: {exc}") from exc

    def _answer(self, request: TraceRequest, attempt: int, latency_ms: float | None, values: dict[str, Any]) -> Answer:
        return Answer(
            request_hash=request.request_hash,
            messages_hash=request.messages_hash,
            teacher=self._endpoint.model,
            endpoint=self._endpoint.name,
            prompt_kind=self._endpoint.prompt_kind,
            sample_index=request.sample_index,
            asked_at=datetime.now(UTC),
            attempt_count=attempt,
            latency_ms=latency_ms,
            cost_usd=cost_usd(values.get("prompt_tokens"), values.get("completion_tokens"), self._access),
            **values,
        )


def pause_s(attempt: int, asked_s: float | None, draw: random.Random) -> float:
    """Seconds before the next attempt: what the server asked for, else doubling from half a second, with jitter."""
    if asked_s is not None:
        return asked_s + draw.random() * FIRST_PAUSE_S
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * float(2 ** (attempt - 1))) * (0.5 + draw.random() / 2)


def status_error(error: openai.APIStatusError, endpoint: Endpoint) -> AttemptError | FatalTeacherError:
    """What an HTTP status means: worth another attempt, or the end."""
    status, text = error.status_code, str(error)[:300]
    if status in (408, 409, 425, 429) or status >= 500:
        return AttemptError(f"HTTP{status}", text, retry_after_s(error.response.headers.get("retry-after")))
    advice = {
        401: "the key is wrong: set the variable that teacher.api_key_env names",
        403: "the key may not use this model",
        404: "teacher.model or teacher.base_url is wrong",
    }.get(status, "the request is refused: check teacher.model and the sampling settings")
    return FatalTeacherError(f"teacher {endpoint.model!r} at {endpoint.name}: HTTP {status}: {advice} ({text})")


def retry_after_s(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, in either of its forms; None if there is none that can be read."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def with_choices(completion: Any) -> Any:
    """The completion, if it has an answer; `Any`, since a body that is not one comes back as text.

    Raises:
        AttemptError: it has no choices.
    """
    if not getattr(completion, "choices", None):
        raise AttemptError("NoChoices", f"the body has no choices: {str(completion)[:200]}")
    return completion


def completion_values(completion: Any) -> dict[str, Any]:
    """The columns of an answer that a completion gives; `Any`, since servers deviate from the client's types."""
    choices = completion.choices
    message, usage = choices[0].message, getattr(completion, "usage", None)
    extra = getattr(message, "model_extra", None) or {}
    details = getattr(usage, "completion_tokens_details", None)
    return {
        "completion_text": message.content or "",
        "reasoning_text": extra.get("reasoning_content") or extra.get("reasoning"),
        "finish_reason": choices[0].finish_reason,
        "prompt_tokens": getattr(usage, "prompt_tokens", None),
        "completion_tokens": getattr(usage, "completion_tokens", None),
        "reasoning_tokens": getattr(details, "reasoning_tokens", None),
    }


def cost_usd(prompt_tokens: int | None, completion_tokens: int | None, access: Access) -> float | None:
    """Price of one answer in US dollars; None where a price or a count is unknown."""
    prices = (access.prompt_usd_per_million, access.completion_usd_per_million)
    if None in (prompt_tokens, completion_tokens, *prices):
        return None
    return (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6  # type: ignore[operator]  # none is None here
