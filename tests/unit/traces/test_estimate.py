import math
from dataclasses import replace
from typing import Any

import pytest

from schemas.config import TeacherConfig
from tasks.traces.answers import Answer, Received, answered, failed
from tasks.traces.endpoints import Endpoint
from tasks.traces.estimate import SAMPLE_SIZE, Estimate, Workload, describe, estimate
from tasks.traces.money import Prices, Usage
from tasks.traces.prompts import Prompt
from tasks.traces.requests import TraceRequest, make_request

ENDPOINT = Endpoint("http://host/v1", "model", "open", 0.0, 100)
PRICES = Prices(1000.0, 10_000.0)
SPREAD = 1.96 * math.sqrt(200) / math.sqrt(2)
"""Half of the interval around the mean of 10 and 30."""

Measured = tuple[int | None, int | None, float | None]
"""Tokens in, tokens out and milliseconds of an answer."""


def _request(number: int, prompt_bytes: int = 400) -> TraceRequest:
    return make_request(ENDPOINT, str(number), "train", Prompt("", f"{number:0{prompt_bytes}}"))


def _teacher(**settings: Any) -> TeacherConfig:  # each setting has its own type
    return TeacherConfig.model_validate({"max_completion_tokens": 100, "concurrency": 4} | settings)


def _answer(request: TraceRequest, prompt: int | None, completion: int | None, latency_ms: float | None = 2000.0) -> Answer:
    return answered(request, ENDPOINT, PRICES, Received("x", None, "stop", Usage(prompt, None, completion)), 1, latency_ms)


def _work(to_send: int, *answers: Measured) -> tuple[Workload, dict[str, Answer]]:
    """Requests of 1000 bytes to send; answered ones of 400 bytes with tokens in, tokens out and milliseconds."""
    wanted = [_request(1000 + i, 1000) for i in range(to_send)]
    asked = [_request(i) for i in range(len(answers))]
    work = Workload()
    work.add([*wanted, *asked], wanted)
    return work, {r.request_hash: _answer(r, *numbers) for r, numbers in zip(asked, answers, strict=True)}


def _estimate(to_send: int, *answers: Measured, prices: Prices = PRICES, **teacher: Any) -> Estimate:  # as above
    return estimate(*_work(to_send, *answers), _teacher(**teacher), prices)


def test_workload_counts_what_is_to_be_sent_and_samples_what_is_not() -> None:
    chunk = [_request(i) for i in range(SAMPLE_SIZE + 10)]
    work = Workload()
    work.add(chunk, chunk[:5])
    work.add(chunk[:3], chunk[:2])
    assert (work.total, work.to_send, work.bytes_to_send) == (SAMPLE_SIZE + 13, 7, 7 * 400)
    assert work.answered == chunk[5 : SAMPLE_SIZE + 5]


def test_workload_takes_what_cannot_be_made_yet_as_long_as_the_rest() -> None:
    work = Workload()
    work.add_unmade(2)
    assert (work.total, work.to_send, work.bytes_to_send) == (2, 2, 0)
    work = Workload()
    work.add([_request(0, 100), _request(1, 300)], [_request(0, 100), _request(1, 300)])
    work.add_unmade(3)
    assert (work.total, work.to_send, work.bytes_to_send) == (5, 5, 1000)


def test_estimate_goes_by_what_was_measured() -> None:
    e = _estimate(8, (100, 10, 1000.0), (100, 30, 3000.0))
    assert (e.total_count, e.to_send_count, e.measured_count, e.is_measured) == (10, 8, 2, True)
    assert e.prompt_tokens == pytest.approx(8000 * 200 / 800)
    assert e.completion_tokens == pytest.approx(8 * 20)
    assert e.completion_tokens_low == pytest.approx(8 * (20 - SPREAD))
    assert e.completion_tokens_high == pytest.approx(8 * (20 + SPREAD))
    assert e.usd == pytest.approx(2.0 + 1.6)
    assert e.usd_low == pytest.approx(2.0 + math.ceil(8 * (20 - SPREAD)) * 0.01)
    assert e.usd_high == pytest.approx(2.0 + math.ceil(8 * (20 + SPREAD)) * 0.01)
    assert e.most_usd == pytest.approx(2.0 + 8.0)
    assert e.seconds == pytest.approx(8 * 2 / 4)
    assert e.bottleneck == "teacher.concurrency"


def test_estimate_weighs_long_prompts_by_their_length() -> None:
    e = _estimate(1, (100, 10, None), (300, 10, None))
    assert e.prompt_tokens == pytest.approx(1000 * 400 / 800)
    assert e.completion_tokens_low == e.completion_tokens == e.completion_tokens_high == 10


def test_estimate_of_one_answer_says_little_but_nothing_impossible() -> None:
    e = _estimate(10, (100, 80, None))
    assert (e.completion_tokens_low, e.completion_tokens, e.completion_tokens_high) == (0, 800, 1000)
    assert [e.usd_high, e.most_usd] == pytest.approx([2.5 + 10, 2.5 + 10])


def test_estimate_without_answers_takes_a_rule_of_thumb_and_the_limit() -> None:
    e = _estimate(8)
    assert (e.measured_count, e.is_measured) == (0, False)
    assert (e.prompt_tokens, e.completion_tokens) == (2000, 800)
    assert (e.completion_tokens_low, e.completion_tokens_high) == (0, 800)
    assert [e.usd_low, e.usd, e.usd_high, e.most_usd] == pytest.approx([2.0, 10.0, 10.0, 10.0])
    assert (e.seconds, e.bottleneck) == (None, "nothing measured, no limit set")


def test_estimate_leaves_out_failures_answers_without_usage_and_unread_ones() -> None:
    work, answers = _work(8, (100, 10, 1000.0), (None, 50, 3000.0), (100, None, 5000.0), (100, 90, 1.0), (100, 90, 1.0))
    answers[work.answered[3].request_hash] = failed(work.answered[3], ENDPOINT, 1, "timeout", "slow")
    del answers[work.answered[4].request_hash]
    e = estimate(work, answers, _teacher(), PRICES)
    assert (e.measured_count, e.completion_tokens) == (1, 80)
    assert e.seconds == pytest.approx(8 * 3 / 4), "answers without usage have a latency all the same"


@pytest.mark.parametrize(
    ("limits", "seconds", "bottleneck"),
    [
        ({}, 4.0, "teacher.concurrency"),
        ({"requests_per_minute": 60}, 8.0, "teacher.requests_per_minute"),
        ({"requests_per_minute": 6000}, 4.0, "teacher.concurrency"),
        ({"tokens_per_minute": 216}, 600.0, "teacher.tokens_per_minute"),
        ({"tokens_per_minute": 216, "requests_per_minute": 1}, 600.0, "teacher.tokens_per_minute"),
        ({"tokens_per_minute": 216, "requests_per_minute": 0.5}, 960.0, "teacher.requests_per_minute"),
        ({"concurrency": 1}, 16.0, "teacher.concurrency"),
    ],
)
def test_estimate_takes_the_time_at_the_tightest_limit(limits: dict[str, float], seconds: float, bottleneck: str) -> None:
    e = estimate(*_work(8, (100, 10, 1000.0), (100, 30, 3000.0)), _teacher(**limits), PRICES)
    assert e.seconds == pytest.approx(seconds)
    assert e.bottleneck == bottleneck


def test_estimate_without_answers_knows_the_time_of_a_rate() -> None:
    e = _estimate(8, requests_per_minute=2)
    assert e.seconds == pytest.approx(240)
    assert e.bottleneck == "teacher.requests_per_minute"


@pytest.mark.parametrize("prices", [Prices(), Prices(1.0), Prices(None, 1.0)])
def test_estimate_keeps_unknown_prices_unknown(prices: Prices) -> None:
    e = _estimate(8, (100, 10, 1.0), prices=prices)
    assert (e.usd, e.usd_low, e.usd_high, e.most_usd) == (None, None, None, None)
    assert e.prompt_tokens == 2000


def test_estimate_of_nothing_left_is_nothing() -> None:
    e = _estimate(0, (100, 10, 1000.0))
    assert (e.to_send_count, e.prompt_tokens, e.completion_tokens, e.usd, e.most_usd, e.seconds) == (0, 0, 0, 0, 0, 0)


def test_describe_says_what_is_known_and_on_what_it_rests() -> None:
    lines = dict(describe(_estimate(8, (100, 10, 1000.0), (100, 30, 3000.0), requests_per_minute=60), _teacher()))
    assert lines == {
        "requests": "8 to send of 10",
        "tokens in": "2,000",
        "tokens out": "160 [3, 317]",
        "basis": "measured on 2 answers",
        "money": "3.60 USD [2.04, 5.17], at most 10.00 if every answer takes its limit",
        "time": "0 min 8 s, limited by teacher.requests_per_minute",
    }


def test_describe_says_what_is_unknown_and_what_to_do() -> None:
    lines = dict(describe(_estimate(8, prices=Prices()), _teacher()))
    assert "NOT measured" in lines["basis"]
    assert "unknown: set teacher.prompt_usd_per_million" in lines["money"]
    assert lines["time"] == "unknown: nothing measured, no limit set"
    assert "teacher.max_documents=10" in lines["advice"]
    assert "advice" not in dict(describe(_estimate(0), _teacher()))


def test_describe_tells_hours() -> None:
    e = replace(_estimate(8, requests_per_minute=2), seconds=3600 * 50 + 61.0)
    assert dict(describe(e, _teacher()))["time"].startswith("50 h 1 min")
