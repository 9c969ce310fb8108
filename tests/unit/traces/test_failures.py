import email.utils
import time

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import FatalTeacherError, SchemaRefusedError
from tasks.traces.failures import RejectedRequestError, RetryableError, is_about_document, retry_after_s, said, status_error

HTTP = httpx2.Request("POST", "http://host/v1")


def _status(status: int, text: str = "no", headers: dict[str, str] | None = None, body: object = None) -> openai.APIStatusError:
    return openai.APIStatusError(text, response=httpx2.Response(status, headers=headers, request=HTTP), body=body)


def _error(status: int, text: str = "no", has_answered: bool = False, has_schema: bool = False) -> Exception:
    return status_error("http://host/v1", _status(status, text), text, has_answered, has_schema)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 529, 599])
@pytest.mark.parametrize("has_answered", [True, False])
def test_status_error_lets_pass_what_may_pass(status: int, has_answered: bool) -> None:
    error = _error(status, "response_format context_length", has_answered, has_schema=True)
    assert isinstance(error, RetryableError)
    assert (error.kind, error.is_connection, error.may_be_billed) == (f"http_{status}", False, False)


@pytest.mark.parametrize(("status", "reason"), [(401, "key"), (402, "credit"), (403, "key"), (404, "model")])
@pytest.mark.parametrize("has_answered", [True, False])
def test_status_error_names_what_is_wrong_with_all_requests(status: int, reason: str, has_answered: bool) -> None:
    error = _error(status, "because", has_answered, has_schema=True)
    assert isinstance(error, FatalTeacherError)
    assert str(error).startswith(f"http://host/v1: {status}, ")
    assert reason in str(error)
    assert "because" in str(error)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_status_error_tells_a_document_from_how_all_are_asked(status: int) -> None:
    assert isinstance(_error(status, "unknown parameter top_p"), FatalTeacherError)
    answered = _error(status, "unknown parameter top_p", has_answered=True)
    too_long = _error(status, "This model's maximum context length is 8192 tokens")
    for error in (answered, too_long):
        assert isinstance(error, RejectedRequestError)
        assert error.kind == f"http_{status}"


@pytest.mark.parametrize("text", ["Unknown parameter: 'response_format'", "Guided decoding is not supported", "bad JSON_SCHEMA"])
def test_status_error_knows_a_refused_schema_where_one_was_sent(text: str) -> None:
    refused = _error(400, text, has_answered=True, has_schema=True)
    assert isinstance(refused, SchemaRefusedError)
    assert "teacher.answer_form" in str(refused)
    assert not isinstance(_error(400, text), SchemaRefusedError)
    assert isinstance(_error(400, text, has_answered=True), RejectedRequestError)


def test_status_error_keeps_the_pause_the_server_asks_for() -> None:
    error = status_error("n", _status(429, headers={"retry-after": "7"}), "slow", has_answered=False, has_schema=False)
    assert isinstance(error, RetryableError)
    assert error.pause_s == 7


@pytest.mark.parametrize(
    ("kind", "is_overload"),
    [("timeout", True), ("http_429", True), ("http_503", True), ("http_529", True), ("http_500", False), ("connection", False)],
)
def test_retryable_error_knows_overload(kind: str, is_overload: bool) -> None:
    assert RetryableError(kind, "x").is_overload is is_overload


def test_is_about_document_knows_lengths_and_filters() -> None:
    assert is_about_document("This model's maximum context length is 8192 tokens", None)
    assert is_about_document("", "content_filter")
    assert not is_about_document("Unrecognized request argument: temperature", None)


def test_said_gives_the_message_or_else_the_body() -> None:
    assert said(_status(400, "Error code: 400 - why", body={"message": "why"})) == "Error code: 400 - why"
    assert said(_status(400, "Error code: 400", body="a\n  reason")) == "Error code: 400 - a reason"
    assert said(_status(400, "Error code: 400", body={"detail": "reason"})) == "Error code: 400 - {'detail': 'reason'}"
    assert said(_status(400, "Error code: 400")) == "Error code: 400"


def test_retry_after_s_reads_milliseconds_seconds_and_dates() -> None:
    def asked(**headers: str) -> float:
        return retry_after_s(httpx2.Headers({name.replace("_", "-"): value for name, value in headers.items()}))

    assert asked(retry_after_ms="250", retry_after="9") == 0.25
    assert asked(retry_after_ms="soon", retry_after="9") == 9
    assert asked(retry_after="1.5") == 1.5
    assert 25 < asked(retry_after=email.utils.formatdate(time.time() + 30, usegmt=True)) <= 31
    assert asked(retry_after=email.utils.formatdate(time.time() - 30, usegmt=True)) == 0
    assert (asked(retry_after="soon"), asked(retry_after="-3"), asked(retry_after="nan"), asked()) == (0, 0, 0, 0)
    assert asked(retry_after="Mon, 01 Jan 99999 00:00:00 GMT") == 0


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])) | st.datetimes().map(email.utils.format_datetime))
def test_retry_after_s_survives_any_header(text: str) -> None:
    assert retry_after_s(httpx2.Headers({"retry-after": text, "retry-after-ms": text[::-1]})) >= 0
