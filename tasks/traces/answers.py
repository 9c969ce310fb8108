"""What came back: a `chat.completion` body read with distrust, and the answer as the journal keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.traces.endpoints import Endpoint
from tasks.traces.money import Prices, Usage, price
from tasks.traces.requests import TraceRequest

CUT = "connection_cut"
"""Our own `finish_reason`: the connection ended before the answer did."""

TRUNCATED = ("length", CUT)
"""Finish reasons of answers that ended early: kept as answers, and asked again only by name."""

SEEN_CHARS = 200
MOST_TOKENS = 10**12
"""A larger count is no count."""

Json = Mapping[str, Any]
"""A JSON object as a server sent it: each key has its own type, and any may be missing or wrong."""


class Answer(BaseModel):
    """How one request ended: an answer as received, or an error; one record of the journal."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request_hash: str
    messages_hash: str
    teacher: str
    endpoint: str
    prompt_kind: str
    variant: str = "both"
    asked_form: str = "json"
    sample_index: int
    asked_at: datetime
    attempt_count: int
    completion_text: str | None = None
    reasoning_text: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    answer_tokens: int | None = None
    cost_usd: float | None = None
    at_risk_usd: float | None = None
    """The most that attempts without a usage report may have cost; null if the price is unknown."""
    latency_ms: float | None = None
    error_kind: str | None = None
    error_text: str | None = None


class BrokenAnswerError(ValueError):
    """A body that is no completion; `kind` is the error kind of the request's row."""

    def __init__(self, kind: str, message: str) -> None:
        """Keep the kind."""
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Received:
    """One completion as received; `finish_reason` is null if the server gives none."""

    completion_text: str
    reasoning_text: str | None
    finish_reason: str | None
    usage: Usage


def read_completion(body: object) -> Received:
    """The first choice of a `chat.completion` object.

    Raises:
        BrokenAnswerError: it is none, or has no choice.
    """
    if not isinstance(body, Mapping):
        raise BrokenAnswerError("broken_body", f"the body is no completion object: {seen(body)}")
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise BrokenAnswerError("empty_choices", f"the completion has no choices: {seen(body)}")
    message = choices[0].get("message") if isinstance(choices[0], Mapping) else None
    if not isinstance(message, Mapping):
        raise BrokenAnswerError("broken_body", f"the first choice has no message: {seen(body)}")
    return Received(
        content_text(message.get("content")) or content_text(message.get("refusal")) or "",
        reasoning_of(message),
        _text(choices[0].get("finish_reason")),
        read_usage(body.get("usage")),
    )


def content_text(content: object) -> str | None:
    """Text of a message's content: a string, or parts that hold text; null if there is none."""
    if isinstance(content, str):
        return storable(content)
    if not isinstance(content, list):
        return None
    parts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return storable("".join(part for part in parts if isinstance(part, str))) or None


def reasoning_of(message: Json) -> str | None:
    """The reasoning a server keeps apart, under either of its usual names."""
    return _text(message.get("reasoning_content")) or _text(message.get("reasoning"))


def read_usage(usage: object) -> Usage:
    """Token counts of a usage object; null where it is silent or makes no sense."""
    counts = usage if isinstance(usage, Mapping) else {}
    prompt, completion = _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=_part(counts.get("prompt_tokens_details"), "cached_tokens", prompt),
        completion_tokens=completion,
        reasoning_tokens=_part(counts.get("completion_tokens_details"), "reasoning_tokens", completion),
    )


def _part(details: object, name: str, whole: int | None) -> int | None:
    count = _count(details.get(name)) if isinstance(details, Mapping) else None
    return count if count is None or whole is None or count <= whole else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS else None


def _text(value: object) -> str | None:
    return storable(value) if isinstance(value, str) and value else None


def storable(text: str) -> str:
    """The text with halves of characters, which JSON lets pass and nothing can store, as question marks."""
    return text.encode("utf-8", "replace").decode()


def seen(value: object) -> str:
    """The beginning of what was seen, on one line, for a message."""
    line = " ".join(storable(str(value)[: 4 * SEEN_CHARS]).split())
    return line if len(line) <= SEEN_CHARS else line[: SEEN_CHARS - 1] + "…"


def answered(
    request: TraceRequest, endpoint: Endpoint, prices: Prices, received: Received, attempt_count: int, latency_ms: float | None
) -> Answer:
    """The journal's record of a completion, with its cost."""
    usage = received.usage
    return _record(
        request,
        endpoint,
        attempt_count,
        completion_text=received.completion_text,
        reasoning_text=received.reasoning_text,
        finish_reason=received.finish_reason,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        answer_tokens=usage.answer_tokens,
        cost_usd=price(prices, usage),
        latency_ms=latency_ms,
    )


def failed(request: TraceRequest, endpoint: Endpoint, attempt_count: int, kind: str, message: str) -> Answer:
    """The journal's record of a request that ended without an answer."""
    return _record(request, endpoint, attempt_count, error_kind=kind, error_text=message)


def _record(request: TraceRequest, endpoint: Endpoint, attempt_count: int, **ending: Any) -> Answer:  # fields of many types
    return Answer(
        request_hash=request.request_hash,
        messages_hash=request.messages_hash,
        teacher=endpoint.model,
        endpoint=endpoint.name,
        prompt_kind=endpoint.prompt_kind,
        variant=request.variant,
        asked_form=request.asked_form,
        sample_index=request.sample_index,
        asked_at=datetime.now(UTC),
        attempt_count=attempt_count,
        **ending,
    )


def is_answered(answer: Answer | None) -> bool:
    """Whether the teacher answered at all, if only with a refusal."""
    return answer is not None and answer.error_kind is None


def may_pass(error_kind: str) -> bool:
    """Whether a failed request may succeed when it is sent again; a request that was refused for itself will not."""
    return error_kind not in LASTING


LASTING = frozenset({"http_400", "http_413", "http_415", "http_422", "no_shortlist"})
"""Error kinds that sending again does not cure: the server does not take this one request."""
