"""When a teacher is given up, and what becomes of the requests that were under way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import FatalTeacherError, SchemaRefusedError, TeacherError
from tasks.traces.answers import Answer, Received
from tasks.traces.client import JUDGED_ENDINGS, AbandonedError, AskRules, Teacher
from tasks.traces.failures import RejectedRequestError, RetryableError
from tasks.traces.limits import MinuteRate, Pacer, Slots
from tasks.traces.money import Budget, Prices, Usage
from tasks.traces.requests import TraceRequest
from tests.support.attempts import ENDPOINT, REQUEST

RULES = AskRules(max_attempts=1, max_cut_attempts=1, first_pause_s=60.0, max_error_frac=0.2, connection_failure_limit=10)
VIM = Received("vim", None, "stop", Usage(100, None, 20))
DOWN = RetryableError("http_500", "down")
MOST_FAILURES = JUDGED_ENDINGS // 5

Outcome = Received | Exception
Ending = Answer | BaseException


class ScriptedTransport:
    """Gives outcomes in turn, the last one for ever, each after a moment."""

    def __init__(self, outcomes: Sequence[Outcome], seconds: float = 0.0) -> None:
        self._outcomes = outcomes
        self._seconds = seconds
        self.sent_count = 0

    async def complete(self, request: TraceRequest) -> Received:
        self.sent_count += 1
        outcome = self._outcomes[min(self.sent_count, len(self._outcomes)) - 1]
        await asyncio.sleep(self._seconds)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _teacher(transport: ScriptedTransport, pacer: Pacer, rules: AskRules = RULES, budget: Budget | None = None) -> Teacher:
    anything: Any = transport
    return Teacher(anything, ENDPOINT, rules, pacer, Prices(1.0, 1.0), budget or Budget(None, 0.0))


def _asked(outcomes: Sequence[Outcome], rules: AskRules = RULES) -> list[Ending]:
    """How one request after the other ends."""

    async def run() -> list[Ending]:
        teacher = _teacher(ScriptedTransport(outcomes), Pacer(Slots(1)), rules)
        return [(await asyncio.gather(teacher.ask(REQUEST), return_exceptions=True))[0] for _ in outcomes]

    return asyncio.run(run())


def test_ask_bears_the_share_of_failures_that_is_allowed() -> None:
    endings = _asked([*[DOWN] * MOST_FAILURES, *[VIM] * 3 * JUDGED_ENDINGS])
    assert all(isinstance(ending, Answer) for ending in endings)


def test_ask_does_not_judge_before_it_has_seen_enough() -> None:
    assert all(isinstance(ending, Answer) for ending in _asked([DOWN] * (JUDGED_ENDINGS - 1)))


def test_ask_stops_when_too_large_a_share_fails_and_says_so() -> None:
    endings = _asked([VIM] * (JUDGED_ENDINGS - MOST_FAILURES) + [DOWN] * (MOST_FAILURES + 1))
    assert all(isinstance(ending, Answer) for ending in endings[:-1])
    assert isinstance(endings[-1], FatalTeacherError)
    assert f"http://host/v1: {MOST_FAILURES + 1} of the last {JUDGED_ENDINGS} requests failed" in str(endings[-1])
    assert "0.205 > teacher.max_error_frac 0.2" in str(endings[-1])
    assert "http_500: down" in str(endings[-1])


def test_ask_judges_the_last_requests_only() -> None:
    endings = _asked([VIM] * 1000 + [DOWN] * (MOST_FAILURES + 1))
    assert isinstance(endings[-1], FatalTeacherError)


def test_ask_counts_refused_documents_as_failures() -> None:
    refused = RejectedRequestError("http_400", "odd text")
    endings = _asked([VIM] * (JUDGED_ENDINGS - MOST_FAILURES) + [refused] * (MOST_FAILURES + 1))
    assert isinstance(endings[-1], FatalTeacherError)


def test_ask_keeps_every_answer_that_arrives_after_too_many_failures() -> None:
    endings = _asked([*[DOWN] * (MOST_FAILURES + 5), *[VIM] * 2 * JUDGED_ENDINGS])
    answers = [ending for ending in endings if isinstance(ending, Answer)]
    assert sum(answer.error_kind is None for answer in answers) == 2 * JUDGED_ENDINGS


def _stopped_while(prepare: Callable[[Pacer], Awaitable[object]] | None, transport: ScriptedTransport, pacer: Pacer) -> Ending:
    """How a request ends, and within a moment, that is stopped while it waits."""

    async def run() -> Ending:
        if prepare:
            await prepare(pacer)
        teacher = _teacher(transport, pacer, replace(RULES, max_attempts=5))
        asking = asyncio.ensure_future(teacher.ask(REQUEST))
        await asyncio.sleep(0.01)
        assert not asking.done()
        teacher.stop()

        [ending] = await asyncio.wait_for(asyncio.gather(asking, return_exceptions=True), 1)

        return ending

    return asyncio.run(run())


def test_stop_abandons_a_request_in_a_pause() -> None:
    transport = ScriptedTransport([DOWN])
    assert isinstance(_stopped_while(None, transport, Pacer(Slots(1))), AbandonedError)
    assert transport.sent_count == 1


def test_stop_abandons_a_request_the_server_holds_back() -> None:
    async def held(pacer: Pacer) -> None:
        pacer.hold(60)

    transport, pacer = ScriptedTransport([VIM]), Pacer(Slots(1))
    assert isinstance(_stopped_while(held, transport, pacer), AbandonedError)
    assert (transport.sent_count, pacer.slots.in_flight) == (0, 0)


@pytest.mark.parametrize("is_by_token", [True, False])
def test_stop_abandons_a_request_that_waits_for_its_rate(is_by_token: bool) -> None:
    async def used_up(pacer: Pacer) -> None:
        await pacer.enter(1)
        pacer.leave(1, 1, 1)

    transport = ScriptedTransport([VIM])
    pacer = Pacer(Slots(1), None, MinuteRate(1)) if is_by_token else Pacer(Slots(1), MinuteRate(1))
    assert isinstance(_stopped_while(used_up, transport, pacer), AbandonedError)
    assert (transport.sent_count, pacer.slots.in_flight) == (0, 0)


def test_stop_lets_what_is_in_flight_arrive_and_abandons_what_waits_for_a_slot() -> None:
    async def run() -> None:
        transport, budget = ScriptedTransport([VIM], seconds=0.05), Budget(None, 0.0)
        teacher = _teacher(transport, Pacer(Slots(3)), budget=budget)
        asking = [asyncio.ensure_future(teacher.ask(REQUEST)) for _ in range(10)]
        await asyncio.sleep(0.01)
        teacher.stop()
        endings = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 1)
        assert [isinstance(ending, Answer) for ending in endings] == [True] * 3 + [False] * 7
        assert all(isinstance(ending, AbandonedError) for ending in endings[3:])
        assert transport.sent_count == 3
        assert budget.spent_usd == pytest.approx(3 * 120 / 1e6)

    asyncio.run(run())


@pytest.mark.parametrize("fatal", [FatalTeacherError("no such model"), SchemaRefusedError("no response_format")])
def test_a_fatal_error_sends_nothing_that_waits_for_a_slot(fatal: TeacherError) -> None:
    async def run() -> None:
        transport, budget = ScriptedTransport([fatal], seconds=0.01), Budget(None, 0.0)
        teacher = _teacher(transport, Pacer(Slots(2)), budget=budget)
        endings = await asyncio.gather(*(teacher.ask(REQUEST) for _ in range(10)), return_exceptions=True)
        assert [type(ending) for ending in endings] == [type(fatal)] * 2 + [AbandonedError] * 8
        assert (transport.sent_count, budget.spent_usd) == (2, 0.0)

    asyncio.run(run())


def test_a_cancelled_request_counts_at_its_most_and_gives_its_slot_back() -> None:
    async def run() -> None:
        pacer, budget = Pacer(Slots(1)), Budget(None, 0.0)
        teacher = _teacher(ScriptedTransport([VIM], seconds=60), pacer, budget=budget)
        asking = asyncio.ensure_future(teacher.ask(REQUEST))
        await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert pacer.slots.in_flight == 0
        assert budget.spent_usd == pytest.approx((REQUEST.prompt_bytes + 32 + ENDPOINT.max_completion_tokens) / 1e6)

    asyncio.run(run())
