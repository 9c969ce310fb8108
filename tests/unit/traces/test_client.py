import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from schemas.errors import BudgetSpentError, FatalTeacherError, TeacherError
from tasks.traces.answers import CUT, Answer
from tasks.traces.client import AbandonedError, AskRules, Teacher
from tasks.traces.limits import Pacer, Slots
from tasks.traces.money import Budget, Prices, most_usd
from tasks.traces.requests import TraceRequest
from tasks.traces.transport import Patience, Transport
from tests.support.attempts import ENDPOINT, KEY, REQUEST, STREAMED, WHOLE, quick_client
from tests.support.scripted_server import (
    DROPPED,
    HUNG,
    Reply,
    Script,
    ScriptedServer,
    completion,
    delta,
    error_reply,
    serving,
    stream,
    usage_chunk,
)

RULES = AskRules(max_attempts=3, max_cut_attempts=2, first_pause_s=0.001, max_error_frac=0.2, connection_failure_limit=10)
PRICES = Prices(1000.0, 10_000.0)
COST = 0.3
"""US dollars of the scripted answers: 100 tokens in, 20 out."""

MOST = most_usd(PRICES, REQUEST.prompt_bytes, 2, ENDPOINT.max_completion_tokens) or 0.0
ENDED = delta(None, "stop")

Ending = Answer | TeacherError
Work = Callable[[Teacher], Awaitable[Sequence[Ending]]]


@dataclass(frozen=True)
class Run:
    """What came of asking, and what the server and the budget saw."""

    endings: Sequence[Ending]
    server: ScriptedServer
    budget: Budget
    pacer: Pacer

    @property
    def answer(self) -> Answer:
        [ending] = self.endings
        assert isinstance(ending, Answer), ending
        return ending

    def error(self) -> TeacherError:
        error = next(ending for ending in self.endings if isinstance(ending, TeacherError))
        assert not isinstance(error, AbandonedError)
        return error


async def _ended(teacher: Teacher, request: TraceRequest = REQUEST) -> Ending:
    try:
        return await teacher.ask(request)
    except TeacherError as exc:
        return exc


async def _once(teacher: Teacher) -> Sequence[Ending]:
    return [await _ended(teacher)]


def _times(count: int) -> Work:
    async def work(teacher: Teacher) -> Sequence[Ending]:
        return [await _ended(teacher) for _ in range(count)]

    return work


def _at_once(count: int) -> Work:
    async def work(teacher: Teacher) -> Sequence[Ending]:
        return await asyncio.gather(*(_ended(teacher) for _ in range(count)))

    return work


def _run(
    *replies: Script,
    work: Work = _once,
    rules: AskRules = RULES,
    patience: Patience = WHOLE,
    prices: Prices = PRICES,
    max_usd: float | None = None,
    slots: int = 64,
) -> Run:
    async def run() -> Run:
        async with serving(*replies) as server, quick_client(server.base_url, slots) as client:
            pacer, budget = Pacer(Slots(slots)), Budget(max_usd, 0.0)
            teacher = Teacher(Transport(client, ENDPOINT, patience, [KEY]), ENDPOINT, rules, pacer, prices, budget)
            return Run(await work(teacher), server, budget, pacer)

    return asyncio.run(asyncio.wait_for(run(), 10))


def test_ask_counts_an_answer_and_what_it_cost() -> None:
    run = _run(completion(reasoning="because"))
    answer = run.answer
    assert (answer.completion_text, answer.reasoning_text, answer.finish_reason) == ("vim", "because", "stop")
    assert [answer.cost_usd, answer.at_risk_usd] == pytest.approx([COST, 0.0])
    assert (answer.attempt_count, answer.error_kind, len(run.server.received)) == (1, None, 1)
    assert run.budget.spent_usd == pytest.approx(COST)
    assert run.pacer.slots.in_flight == 0


@pytest.mark.parametrize(
    ("fault", "kind", "is_at_risk"),
    [
        (error_reply(429, "busy"), "http_429", False),
        (error_reply(500, "down"), "http_500", False),
        (DROPPED, "connection", True),
        (HUNG, "timeout", True),
        (Reply(body=b"<html>", content_type="text/html"), "wrong_content_type", True),
        (Reply(body=b"{brok"), "broken_body", True),
        (Reply(body=b'{"choices": []}'), "empty_choices", True),
    ],
)
def test_ask_tries_again_after_a_passing_fault_and_in_the_end_says_which(fault: Reply, kind: str, is_at_risk: bool) -> None:
    patience = replace(WHOLE, timeout_s=0.05 if fault is HUNG else 5.0)
    risk = MOST if is_at_risk else 0.0
    run = _run(fault, fault, completion(), patience=patience)
    assert (run.answer.error_kind, run.answer.attempt_count, run.answer.completion_text) == (None, 3, "vim")
    assert [run.answer.cost_usd, run.answer.at_risk_usd] == pytest.approx([COST, 2 * risk])
    assert run.budget.spent_usd == pytest.approx(COST + 2 * risk)
    run = _run(fault, patience=patience)
    assert (run.answer.error_kind, run.answer.attempt_count, len(run.server.received)) == (kind, 3, 3)
    assert (run.answer.completion_text, run.answer.cost_usd) == (None, None)
    assert run.answer.at_risk_usd == pytest.approx(3 * risk)
    assert run.answer.error_text


def test_ask_keeps_money_unknown_where_prices_are() -> None:
    for prices in (Prices(), Prices(1.0, None)):
        run = _run(DROPPED, completion(), prices=prices)
        assert (run.answer.cost_usd, run.answer.at_risk_usd, run.answer.prompt_tokens) == (None, None, 100)


def test_ask_counts_an_answer_without_usage_at_its_most() -> None:
    run = _run(completion(usage=None))
    assert run.answer.cost_usd is None
    assert run.answer.at_risk_usd == pytest.approx(MOST)
    assert run.budget.spent_usd == pytest.approx(MOST)


def test_ask_keeps_the_longest_of_answers_that_are_cut() -> None:
    cuts = [stream(delta("a"), is_cut=True), stream(delta("ab", reasoning="because"), is_cut=True), stream(delta("abc"))]
    run = _run(*cuts, completion(), patience=STREAMED, rules=replace(RULES, max_attempts=6, max_cut_attempts=3))
    assert (run.answer.completion_text, run.answer.reasoning_text, run.answer.finish_reason) == ("ab", "because", CUT)
    assert (run.answer.attempt_count, run.answer.error_kind, run.answer.latency_ms) == (3, None, None)
    assert run.answer.cost_usd is None
    assert run.answer.at_risk_usd == pytest.approx(3 * MOST)


def test_ask_asks_again_after_a_cut_and_keeps_the_whole_answer() -> None:
    run = _run(stream(delta("abcdef"), is_cut=True), stream(delta("vim"), ENDED, usage_chunk()), patience=STREAMED)
    assert (run.answer.completion_text, run.answer.finish_reason, run.answer.attempt_count) == ("vim", "stop", 2)
    assert [run.answer.cost_usd, run.answer.at_risk_usd] == pytest.approx([COST, MOST])


def test_ask_keeps_a_cut_answer_when_other_faults_use_up_the_attempts() -> None:
    run = _run(stream(delta("abc"), is_cut=True), error_reply(500, "down"), patience=STREAMED)
    assert (run.answer.completion_text, run.answer.finish_reason, run.answer.attempt_count) == ("abc", CUT, 3)


def test_ask_gives_one_refused_document_its_row_without_trying_again() -> None:
    run = _run(error_reply(400, "too much", "context_length_exceeded"))
    assert (run.answer.error_kind, run.answer.attempt_count, len(run.server.received)) == ("http_400", 1, 1)
    assert (run.answer.at_risk_usd, run.budget.spent_usd) == (0.0, 0.0)


def test_ask_waits_as_long_as_the_server_asks_and_so_do_all_others() -> None:
    async def work(teacher: Teacher) -> Sequence[Ending]:
        first = asyncio.ensure_future(_ended(teacher))
        await asyncio.sleep(0.04)
        return await asyncio.gather(first, _ended(teacher))

    started = time.monotonic()
    run = _run(error_reply(429, "slow", headers={"Retry-After-Ms": "150"}), completion(), work=work, slots=4)
    assert time.monotonic() - started >= 0.15
    assert [ending.attempt_count for ending in run.endings if isinstance(ending, Answer)] == [2, 1]
    assert all(ending.latency_ms is not None and ending.latency_ms < 150 for ending in run.endings if isinstance(ending, Answer))


def test_ask_pauses_longer_each_time() -> None:
    started = time.monotonic()
    _run(error_reply(500, "down"), rules=replace(RULES, first_pause_s=0.04))
    assert 0.06 <= time.monotonic() - started < 0.4


def test_ask_lowers_the_slots_after_overload_only() -> None:
    assert _run(error_reply(503, "busy"), completion(), slots=10).pacer.slots.limit < 10
    assert _run(error_reply(500, "down"), completion(), slots=10).pacer.slots.limit == 10


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_ask_sends_nothing_more_once_no_request_can_succeed(status: int) -> None:
    run = _run(error_reply(status, "because of you"), work=_at_once(20), slots=3)
    fatal = [ending for ending in run.endings if not isinstance(ending, AbandonedError)]
    assert all(isinstance(ending, FatalTeacherError) for ending in fatal)
    assert "because of you" in str(run.error())
    assert len(run.server.received) == len(fatal) <= 3
    assert run.budget.spent_usd == 0


def test_ask_gives_up_a_teacher_whose_connections_all_fail() -> None:
    rules = replace(RULES, max_attempts=50, first_pause_s=0.0)
    run = _run(DROPPED, rules=rules)
    assert isinstance(run.error(), FatalTeacherError)
    assert "10 connections failed in a row" in str(run.error())
    assert len(run.server.received) == 10


@pytest.mark.parametrize("alive", [completion(), error_reply(500, "down"), error_reply(400, "odd text")])
def test_ask_goes_on_while_anything_answers_between_failed_connections(alive: Reply) -> None:
    rules = replace(RULES, max_attempts=2, first_pause_s=0.0, connection_failure_limit=3, max_error_frac=1.0)
    run = _run(completion(), *[DROPPED, alive] * 6, work=_times(7), rules=rules)
    assert all(isinstance(ending, Answer) for ending in run.endings)


def test_ask_stops_before_the_cap_is_passed_and_names_the_sums() -> None:
    run = _run(completion(), work=_times(9), max_usd=MOST + 2.5 * COST)
    answers = [ending for ending in run.endings if isinstance(ending, Answer)]
    assert len(answers) == len(run.server.received) == 3
    assert isinstance(run.error(), BudgetSpentError)
    assert f"{3 * COST:.4f} USD are spent" in str(run.error())
    assert f"up to {MOST:.4f}" in str(run.error())
    assert "teacher.max_usd" in str(run.error())


def test_ask_keeps_the_cap_with_many_in_flight() -> None:
    run = _run(completion(), work=_at_once(60), max_usd=12.0)
    answers = [ending for ending in run.endings if isinstance(ending, Answer)]
    assert sum(answer.cost_usd or 0 for answer in answers) == pytest.approx(run.budget.spent_usd)
    assert 12.0 - MOST < run.budget.spent_usd <= 12.0
    assert len(answers) == len(run.server.received)
    assert run.server.most_in_flight <= 12.0 / MOST


def test_ask_sends_nothing_that_does_not_fit_at_all() -> None:
    run = _run(completion(), max_usd=MOST / 2)
    assert isinstance(run.error(), BudgetSpentError)
    assert run.server.received == []


def test_ask_keeps_within_the_slots() -> None:
    run = _run(replace(completion(), delay_s=0.005), work=_at_once(30), slots=5)
    assert all(isinstance(ending, Answer) for ending in run.endings)
    assert (run.server.most_in_flight, len(run.server.received), run.pacer.slots.in_flight) == (5, 30, 0)
