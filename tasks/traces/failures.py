"""What went wrong with one attempt: what may pass, what is wrong with one request, and what no request survives."""

import email.utils
import time

import httpx2
import openai

from schemas.errors import FatalTeacherError, SchemaRefusedError, TransientTeacherError

RETRIED = frozenset({408, 409, 425, 429})
"""Status codes below 500 that may pass; everything from 500 on may pass too."""

HOPELESS = {
    401: "the key is missing or wrong",
    402: "the account has no credit",
    403: "the key may not use this",
    404: "there is no such model or address",
}
SCHEMA_SIGNS = ("response_format", "json_schema", "structured output", "guided_json", "guided decoding", "grammar")
DOCUMENT_SIGNS = ("context_length", "context length", "too long", "content_filter", "content_policy", "too many tokens")


class RetryableError(TransientTeacherError):
    """One attempt failed in a way that may pass.

    `pause_s` is what the server asked for; `is_connection`: nothing was reached; `may_be_billed`: the server may have worked.
    """

    def __init__(
        self, kind: str, message: str, pause_s: float = 0.0, is_connection: bool = False, may_be_billed: bool = False
    ) -> None:
        """Keep what the retry layer needs."""
        super().__init__(message)
        self.kind = kind
        self.pause_s = pause_s
        self.is_connection = is_connection
        self.may_be_billed = may_be_billed

    @property
    def is_overload(self) -> bool:
        """Whether fewer requests in flight might have helped."""
        return self.kind in ("timeout", "http_429", "http_503", "http_529")


class RejectedRequestError(TransientTeacherError):
    """The server will not take this one request, whoever sends it again; `kind` says how it put it."""

    def __init__(self, kind: str, message: str) -> None:
        """Keep the kind for the request's row."""
        super().__init__(message)
        self.kind = kind


def status_error(name: str, error: openai.APIStatusError, text: str, has_answered: bool, has_schema: bool) -> Exception:
    """Our error for an HTTP status of 400 or more.

    Args:
        name: the endpoint, as messages name it.
        error: what the client raised.
        text: its message, without secrets.
        has_answered: whether any request was answered: then what is refused now is this request, not all of them.
        has_schema: whether the request asked for structured output.
    """
    status = error.status_code
    if status == 429 and "insufficient_quota" in f"{error.code} {text}":
        return FatalTeacherError(f"{name}: {status}, the account's quota is used up: {text}")
    if status in RETRIED or status >= 500:
        return RetryableError(f"http_{status}", text, retry_after_s(error.response.headers))
    if status in HOPELESS:
        return FatalTeacherError(f"{name}: {status}, {HOPELESS[status]}: {text}")
    if has_schema and any(sign in text.lower() for sign in SCHEMA_SIGNS):
        return SchemaRefusedError(
            f"{name}: {status}, the server does not take structured output: {text}; set teacher.answer_form: tagged, free or auto"
        )
    if has_answered or is_about_document(text, error.code):
        return RejectedRequestError(f"http_{status}", text)
    return FatalTeacherError(f"{name}: {status}, the teacher does not take requests as they are set up: {text}")


def said(error: openai.APIStatusError) -> str:
    """What the server said: its message, or its body where that is no error object as OpenAI makes it."""
    has_message = " - " in error.message or not error.body
    return error.message if has_message else f"{error.message} - {' '.join(str(error.body).split())}"


def is_about_document(text: str, code: str | None) -> bool:
    """Whether a refused request was refused for its document (too long, filtered), not for how all are made."""
    words = f"{code or ''} {text}".lower()
    return any(sign in words for sign in DOCUMENT_SIGNS)


def retry_after_s(headers: httpx2.Headers) -> float:
    """Seconds the server asks to wait: `Retry-After-Ms`, or `Retry-After` as seconds or a date; 0 if it says nothing."""
    if milliseconds := _number(headers.get("retry-after-ms")):
        return milliseconds / 1000
    asked = headers.get("retry-after")
    if (seconds := _number(asked)) is not None:
        return seconds
    try:
        date = email.utils.parsedate_tz(asked) if asked else None
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else 0.0
    except (ValueError, OverflowError):  # a date that is none
        return 0.0


def _number(text: str | None) -> float | None:
    try:
        return max(0.0, float(text or ""))
    except ValueError:
        return None
