"""Ask an OpenAI-compatible endpoint: one attempt with a deadline, retries with growing pauses, many requests at once."""

import asyncio
import email.utils
import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx2
import openai
from openai.types.chat import ChatCompletion

from schemas.errors import FatalTeacherError, TransientTeacherError
from tasks.traces.endpoints import Endpoint
from tasks.traces.requests import Answer, TraceRequest

RETRIED = frozenset({408, 409, 429})
"""Status codes below 500 that may pass; everything from 500 on may pass too."""

HOPELESS = {
    401: "the key is missing or wrong",
    403: "the key may not use this",
    404: "there is no such model or address",
}
MAX_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
CONNECT_S = 10.0


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens; null: unknown."""

    prompt_usd_per_million: float | None = None
    completion_usd_per_million: float | None = None


@dataclass(frozen=True)
class AskRules:
    """How patiently to ask."""

    concurrency: int
    max_attempts: int
    timeout_s: float
    first_pause_s: float

    @property
    def connection_failure_limit(self) -> int:
        """So many connections failing in a row, none succeeding between, mean that the teacher has stopped."""
        return max(10, 3 * self.concurrency)


class RetryableError(TransientTeacherError):
    """One attempt failed in a way that may pass; `pause_s` is what the server asked for."""

    def __init__(self, kind: str, message: str, pause_s: float = 0.0, is_connection: bool = False) -> None:
        """Keep what the retry layer needs."""
        super().__init__(message)
        self.kind = kind
        self.pause_s = pause_s
        self.is_connection = is_connection


class RejectedRequestError(TransientTeacherError):
    """The server will not take this one request, whoever sends it again; `kind` says how it put it."""

    def __init__(self, kind: str, message: str) -> None:
        """Keep the kind for the request's row."""
        super().__init__(message)
        self.kind = kind


class Teacher:
    """An endpoint being asked; counts what tells a passing fault from a teacher that is gone."""

    def __init__(
        self, client: openai.AsyncOpenAI, endpoint: Endpoint, rules: AskRules, prices: Prices, secrets: Sequence[str]
    ) -> None:
        """Ask through `client`; `secrets` never appear in an error text."""
        self._client = client
        self._endpoint = endpoint
        self._rules = rules
        self._prices = prices
        self._secrets = [secret for secret in secrets if secret]
        self._answered_count = 0
        self._failed_connections = 0
        self._random = random.Random()

    async def ask(self, request: TraceRequest) -> Answer:
        """The teacher's answer, or an answer row with the last error once the attempts are used up.

        Raises:
            FatalTeacherError: no request can succeed.
        """
        for attempt in range(1, self._rules.max_attempts + 1):
            started = time.monotonic()
            try:
                response = await self._attempt(request)
            except RetryableError as exc:
                self._count_connection(exc)
                last: RetryableError | RejectedRequestError = exc
                if attempt < self._rules.max_attempts:
                    await asyncio.sleep(self._pause_s(attempt, exc.pause_s))
            except RejectedRequestError as exc:
                return self._failed(request, attempt, exc)
            else:
                self._answered_count += 1
                self._failed_connections = 0
                return self._received(request, attempt, response, (time.monotonic() - started) * 1000)
        return self._failed(request, self._rules.max_attempts, last)

    def _count_connection(self, error: RetryableError) -> None:
        self._failed_connections = self._failed_connections + 1 if error.is_connection else 0
        if self._failed_connections >= self._rules.connection_failure_limit:
            raise FatalTeacherError(
                f"{self._endpoint.name}: {self._failed_connections} connections failed in a row, the last with: {error}; "
                "the teacher has stopped or cannot be reached; start it and run again, answers so far are kept"
            )

    def _pause_s(self, attempt: int, asked_s: float) -> float:
        grown = min(MAX_PAUSE_S, self._rules.first_pause_s * 2.0 ** (attempt - 1))
        return max(min(asked_s, LONGEST_RETRY_AFTER_S), grown * self._random.uniform(0.5, 1.0))

    async def _attempt(self, request: TraceRequest) -> ChatCompletion:
        try:
            async with asyncio.timeout(self._rules.timeout_s):
                response = await self._client.chat.completions.create(
                    model=self._endpoint.model,
                    messages=request.prompt.messages(),  # type: ignore[arg-type]  # plain dicts are what it takes
                    temperature=self._endpoint.temperature,
                    max_completion_tokens=self._endpoint.max_completion_tokens,
                )
        except (TimeoutError, openai.APIConnectionError) as exc:
            raise self._connection_error(exc) from exc
        except openai.APIStatusError as exc:
            raise self._status_error(exc) from exc
        except (json.JSONDecodeError, UnicodeDecodeError, openai.APIError) as exc:
            raise RetryableError("broken_body", f"the answer is not a completion: {self._safe(exc)}") from exc
        if not isinstance(response, ChatCompletion) or not response.choices or response.choices[0].message is None:
            raise RetryableError("broken_body", f"the answer has no choices: {self._safe(response)[:200]}")
        return response

    def _connection_error(self, error: Exception) -> RetryableError:
        # the aiohttp transport calls a refused or dropped connection a ConnectTimeout
        is_refused = isinstance(error.__cause__, httpx2.ConnectTimeout)
        if isinstance(error, TimeoutError | openai.APITimeoutError) and not is_refused:
            return RetryableError("timeout", f"no whole answer within {self._rules.timeout_s:g} s")
        return RetryableError("connection", self._safe(error.__cause__ or error), is_connection=True)

    def _status_error(self, error: openai.APIStatusError) -> Exception:
        status, text = error.status_code, self._safe(error.message)
        if status in RETRIED or status >= 500:
            return RetryableError(f"http_{status}", text, retry_after_s(error.response.headers))
        if status in HOPELESS:
            return FatalTeacherError(f"{self._endpoint.name}: {status}, {HOPELESS[status]}: {text}")
        if self._answered_count or is_about_document(text, error.code):
            return RejectedRequestError(f"http_{status}", text)
        return FatalTeacherError(
            f"{self._endpoint.name}: {status}, the teacher does not take requests as they are set up: {text}"
        )

    def _safe(self, value: object) -> str:
        text = str(value) or type(value).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _received(self, request: TraceRequest, attempt: int, response: ChatCompletion, latency_ms: float) -> Answer:
        choice, usage = response.choices[0], response.usage
        message, extra = choice.message, choice.message.model_extra or {}
        details = usage.completion_tokens_details if usage else None
        prompt_tokens = usage.prompt_tokens if usage else None
        completion_tokens = usage.completion_tokens if usage else None
        return self._ended(
            request,
            attempt,
            completion_text=message.content or message.refusal or "",
            reasoning_text=extra.get("reasoning_content") or extra.get("reasoning"),
            finish_reason=choice.finish_reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            reasoning_tokens=details.reasoning_tokens if details else None,
            cost_usd=price(self._prices, prompt_tokens, completion_tokens),
            latency_ms=latency_ms,
        )

    def _failed(self, request: TraceRequest, attempt: int, error: RetryableError | RejectedRequestError) -> Answer:
        return self._ended(request, attempt, error_kind=error.kind, error_text=str(error))

    def _ended(self, request: TraceRequest, attempt: int, **ending: str | float | int | None) -> Answer:
        return Answer.model_validate(
            {
                "request_hash": request.request_hash,
                "messages_hash": request.messages_hash,
                "teacher": self._endpoint.model,
                "endpoint": self._endpoint.name,
                "prompt_kind": self._endpoint.prompt_kind,
                "sample_index": request.sample_index,
                "asked_at": datetime.now(UTC),
                "attempt_count": attempt,
            }
            | ending
        )


def open_client(base_url: str, api_key: str, rules: AskRules) -> openai.AsyncOpenAI:
    """A client that neither retries nor waits on its own: both are ours. Close it after use."""
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs a line with the whole address for every request
    limits = httpx2.Limits(max_connections=rules.concurrency, max_keepalive_connections=rules.concurrency)
    timeout = httpx2.Timeout(rules.timeout_s, connect=min(CONNECT_S, rules.timeout_s))
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=api_key,
        max_retries=0,
        timeout=timeout,
        http_client=openai.DefaultAioHttpClient(limits=limits, timeout=timeout),
    )


def is_about_document(text: str, code: str | None) -> bool:
    """Whether a refused request was refused for its document (too long, filtered), not for how all are made."""
    words = f"{code or ''} {text}".lower()
    return any(sign in words for sign in ("context_length", "context length", "too long", "content_filter", "content_policy"))


def retry_after_s(headers: httpx2.Headers) -> float:
    """Seconds the server asks to wait: `Retry-After-Ms`, or `Retry-After` as seconds or a date; 0 if it says nothing."""
    if milliseconds := _number(headers.get("retry-after-ms")):
        return milliseconds / 1000
    asked = headers.get("retry-after")
    if (seconds := _number(asked)) is not None:
        return seconds
    date = email.utils.parsedate_tz(asked) if asked else None
    return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else 0.0


def _number(text: str | None) -> float | None:
    try:
        return max(0.0, float(text or ""))
    except ValueError:
        return None


def price(prices: Prices, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
    """US dollars of one answer; null where a price or a token count is unknown."""
    counts = (prompt_tokens, completion_tokens)
    rates = (prices.prompt_usd_per_million, prices.completion_usd_per_million)
    if None in counts or None in rates:
        return None
    return sum((count or 0) * (rate or 0.0) for count, rate in zip(counts, rates, strict=True)) / 1e6
