from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.traces import answers
from tasks.traces.answers import Answer, BrokenAnswerError, Received, is_answered, may_pass, read_completion, read_usage, seen
from tasks.traces.endpoints import Endpoint
from tasks.traces.money import Prices, Usage
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import make_request

ENDPOINT = Endpoint("http://host/v1", "model", "candidates", 0.0, 100)
REQUEST = make_request(ENDPOINT, "d", "train", open_prompt("text", 2, ["a"]), "phase-1", "tagged", sample_index=3)
USAGE = Usage(1000, 100, 50, 20)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),  # halves of characters too
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def _body(message: object, **choice: object) -> dict[str, Any]:  # a JSON object: each key has its own type
    return {"choices": [{"message": message, "finish_reason": "stop"} | choice]}


def test_read_completion_takes_the_first_choice() -> None:
    second = {"message": {"content": "b"}}
    body = {"choices": [*_body({"content": "a"})["choices"], second], "usage": {"prompt_tokens": 3}}
    assert read_completion(body) == Received("a", None, "stop", Usage(prompt_tokens=3))


@pytest.mark.parametrize(
    ("message", "completion_text", "reasoning_text"),
    [
        ({"content": "a"}, "a", None),
        ({"content": None}, "", None),
        ({"content": None, "refusal": "I cannot"}, "I cannot", None),
        ({"content": "", "reasoning_content": "r"}, "", "r"),
        ({"content": "a", "reasoning": "r"}, "a", "r"),
        ({"content": "a", "reasoning_content": "r", "reasoning": "s"}, "a", "r"),
        ({"content": "a", "reasoning_content": "", "reasoning": "s"}, "a", "s"),
        ({"content": "a", "reasoning": {"text": "r"}}, "a", None),
        ({"content": [{"type": "text", "text": "a"}, {"text": 5}, "x", {"text": "b"}]}, "ab", None),
        ({"content": []}, "", None),
        ({"content": 5}, "", None),
        ({"content": "a\ud83d"}, "a?", None),
        ({}, "", None),
    ],
)
def test_read_completion_takes_text_wherever_servers_put_it(
    message: object, completion_text: str, reasoning_text: str | None
) -> None:
    received = read_completion(_body(message))
    assert (received.completion_text, received.reasoning_text) == (completion_text, reasoning_text)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (None, "broken_body"),
        ([1], "broken_body"),
        ("<html>", "broken_body"),
        ({}, "empty_choices"),
        ({"choices": None}, "empty_choices"),
        ({"choices": []}, "empty_choices"),
        ({"choices": {"0": 1}}, "empty_choices"),
        ({"choices": ["a"]}, "broken_body"),
        ({"choices": [{}]}, "broken_body"),
        ({"choices": [{"message": "a"}]}, "broken_body"),
    ],
)
def test_read_completion_says_what_is_wrong(body: object, kind: str) -> None:
    with pytest.raises(BrokenAnswerError) as caught:
        read_completion(body)
    assert caught.value.kind == kind
    assert seen(body) in str(caught.value)


@given(JSON, JSON, JSON)
def test_read_completion_reads_any_json_or_refuses_it(message: object, finish_reason: object, usage: object) -> None:
    for body in (message, {"choices": message}, _body(message, finish_reason=finish_reason) | {"usage": usage}):
        try:
            received = read_completion(body)
        except BrokenAnswerError:
            continue
        answer = answers.answered(REQUEST, ENDPOINT, Prices(1.0, 1.0), received, 1, None)
        assert Answer.model_validate_json(answer.model_dump_json()) == answer


def test_read_usage_takes_counts_and_nothing_else() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 5}}
    assert read_usage({"prompt_tokens": 9, "completion_tokens": 8} | details) == Usage(9, 4, 8, 5)
    assert read_usage({"prompt_tokens": 0, "completion_tokens": 0}) == Usage(0, None, 0, None)
    assert read_usage(details) == Usage(None, 4, None, 5)
    for nonsense in (-1, True, "9", 1.5, 10**30, None):
        assert read_usage({"prompt_tokens": nonsense, "completion_tokens": nonsense}) == Usage()
    assert read_usage(None) == read_usage([1]) == read_usage({"prompt_tokens_details": 3}) == Usage()


def test_read_usage_takes_no_part_larger_than_its_whole() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 4}}
    assert read_usage(usage | {"completion_tokens_details": {"reasoning_tokens": 5}}) == Usage(3, None, 4, None)


def test_seen_is_one_short_line() -> None:
    assert seen("a\n\tb  c") == "a b c"
    assert len(seen("x" * 10_000)) == answers.SEEN_CHARS
    assert seen("x" * 10_000).endswith("x…")


def test_answered_says_who_was_asked_what_and_what_it_cost() -> None:
    received = Received("vim", "because", "length", USAGE)
    answer = answers.answered(REQUEST, ENDPOINT, Prices(2.0, 10.0, 1.0), received, 2, 12.5)
    assert (answer.request_hash, answer.messages_hash) == (REQUEST.request_hash, REQUEST.messages_hash)
    assert (answer.teacher, answer.endpoint, answer.prompt_kind) == ("model", "http://host/v1", "candidates")
    assert (answer.variant, answer.asked_form, answer.sample_index) == ("phase-1", "tagged", 3)
    assert (answer.completion_text, answer.reasoning_text, answer.finish_reason) == ("vim", "because", "length")
    assert (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens) == (1000, 100, 50)
    assert (answer.reasoning_tokens, answer.answer_tokens) == (20, 30)
    assert answer.cost_usd == pytest.approx((900 * 2 + 100 * 1 + 50 * 10) / 1e6)
    assert (answer.attempt_count, answer.latency_ms, answer.error_kind) == (2, 12.5, None)


def test_answered_without_prices_or_usage_has_no_cost() -> None:
    for prices, usage in ((Prices(), USAGE), (Prices(1.0, 1.0), Usage(5)), (Prices(1.0), USAGE)):
        assert answers.answered(REQUEST, ENDPOINT, prices, Received("", None, None, usage), 1, None).cost_usd is None


def test_failed_holds_the_error_and_no_answer() -> None:
    answer = answers.failed(REQUEST, ENDPOINT, 6, "http_500", "down")
    assert (answer.error_kind, answer.error_text, answer.attempt_count) == ("http_500", "down", 6)
    assert (answer.completion_text, answer.prompt_tokens, answer.cost_usd, answer.latency_ms) == (None, None, None, None)


def test_is_answered_counts_a_refusal_but_no_failure() -> None:
    assert is_answered(answers.answered(REQUEST, ENDPOINT, Prices(), Received("", None, "content_filter", Usage()), 1, None))
    assert not is_answered(answers.failed(REQUEST, ENDPOINT, 1, "timeout", ""))
    assert not is_answered(None)


def test_may_pass_is_for_what_was_not_refused_for_itself() -> None:
    assert all(may_pass(kind) for kind in ("http_429", "http_500", "timeout", "connection", "broken_body", "never_asked"))
    assert not any(may_pass(kind) for kind in ("http_400", "http_413", "http_422", "no_shortlist"))


def test_answer_reads_back_what_it_wrote() -> None:
    received = Received("a\n\u2028é\x00", None, "stop", USAGE)
    answer = answers.answered(REQUEST, ENDPOINT, Prices(1.0, 1.0), received, 1, 5.0)
    assert Answer.model_validate_json(answer.model_dump_json()) == answer
    assert "\n" not in answer.model_dump_json()


def test_answer_reads_records_of_before_there_were_variants() -> None:
    old = {
        "request_hash": "k",
        "messages_hash": "m",
        "teacher": "model",
        "endpoint": "e",
        "prompt_kind": "open",
        "sample_index": 0,
        "asked_at": "2026-01-01T00:00:00Z",
        "attempt_count": 1,
        "completion_text": "vim",
        "a_column_of_later": 1,
    }
    answer = Answer.model_validate(old)
    assert (answer.variant, answer.asked_form, answer.at_risk_usd) == ("both", "json", None)
    assert answer.asked_at == datetime(2026, 1, 1, tzinfo=UTC)
