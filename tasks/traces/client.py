"""Ask an endpoint: attempts with growing pauses, paced by its limits, within the budget; every request ends as an answer row."""

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass

from schemas.errors import BudgetSpentError, FatalTeacherError, TransientTeacherError
from tasks.traces.answers import Answer, Received, answered, failed, is_answered
from tasks.traces.endpoints import Endpoint
from tasks.traces.failures import RejectedRequestError, RetryableError
from tasks.traces.limits import Pacer, sleep_unless
from tasks.traces.money import Budget, Prices, Usage, most_usd, price
from tasks.traces.requests import TraceRequest
from tasks.traces.transport import StreamCutError, Transport

MAX_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0

JUDGED_ENDINGS = 200
"""The share of failures while asking is taken over the last so many requests, once there are as many."""

ABANDONED = "the run stopped between two attempts; they may have been billed"


@dataclass(frozen=True)
class AskRules:
    """How patiently to ask."""

    max_attempts: int
    max_cut_attempts: int
    first_pause_s: float
    max_error_frac: float
    connection_failure_limit: int
    """So many connections failing in a row, none succeeding between, mean that the teacher has stopped."""


@dataclass
class Attempts:
    """What one request has been through: attempts, the longest cut answer, money that may have been spent for nothing."""

    count: int = 0
    sent_at: float = 0.0
    cut_count: int = 0
    longest_cut: Received | None = None
    at_risk_usd: float | None = 0.0

    def risk(self, used: "Used") -> None:
        """Add what an attempt may have cost without saying so."""
        more = used.at_risk_usd
        self.at_risk_usd = None if self.at_risk_usd is None or more is None else self.at_risk_usd + more

    def keep_longest(self, received: Received) -> None:
        """Count a cut stream and keep what came if it is more than before."""
        self.cut_count += 1
        if self.longest_cut is None or _length(received) > _length(self.longest_cut):
            self.longest_cut = received


class AbandonedError(TransientTeacherError):
    """The run stops before this request was answered; it has no row and is asked by the next run."""


class Teacher:
    """An endpoint being asked; counts what tells a passing fault from a teacher that is gone."""

    def __init__(
        self, transport: Transport, endpoint: Endpoint, rules: AskRules, pacer: Pacer, prices: Prices, budget: Budget
    ) -> None:
        """Ask through `transport`."""
        self._transport = transport
        self._endpoint = endpoint
        self._rules = rules
        self._pacer = pacer
        self._prices = prices
        self._budget = budget
        self._failed_connections = 0
        self._endings: deque[bool] = deque(maxlen=JUDGED_ENDINGS)
        self._random = random.Random()
        self._stopping = asyncio.Event()

    async def ask(self, request: TraceRequest) -> Answer:
        """The teacher's answer, or an answer row with the last error once the attempts are used up.

        Raises:
            FatalTeacherError: no request can succeed, or too large a share fails.
            BudgetSpentError: the request might cost more than is left.
        """
        tried = Attempts()
        while True:
            tried.count += 1
            try:
                received = await self._attempt(request, tried)
            except RetryableError as exc:
                self._count_connection(exc)
                if self._is_last(tried, exc):
                    return self._ended(self._given_up(request, tried, exc), tried)
                await sleep_unless(self._stopping, self._pause_s(tried.count, exc.pause_s))
                if self._stopping.is_set():
                    return self._abandoned(request, tried)
            except AbandonedError:
                return self._abandoned(request, tried)
            except RejectedRequestError as exc:
                self._failed_connections = 0
                return self._ended(failed(request, self._endpoint, tried.count, exc.kind, str(exc)), tried)
            else:
                self._failed_connections = 0
                latency_ms = (time.monotonic() - tried.sent_at) * 1000
                return self._ended(answered(request, self._endpoint, self._prices, received, tried.count, latency_ms), tried)

    async def _attempt(self, request: TraceRequest, tried: Attempts) -> Received:
        """One attempt within budget and limits; what it used, or may have used, is counted whatever happens."""
        prompt_bytes, limit = request.prompt_bytes, self._endpoint.max_completion_tokens
        most = most_usd(self._prices, prompt_bytes, len(request.prompt.messages()), limit)
        await self._reserve(most)
        used = Used(most)
        try:
            expected = self._pacer.expected_tokens(prompt_bytes, limit)
            await self._pacer.enter(expected)
            try:
                if self._stopping.is_set():
                    raise AbandonedError("no more is asked")
                used.may_be_billed()
                tried.sent_at = time.monotonic()
                return await self._send(request, used, tried.sent_at)
            finally:
                self._pacer.leave(expected, used.usage.total_tokens, used.usage.completion_tokens)
        finally:
            self._budget.settle(most or 0.0, used.usd)
            tried.risk(used)

    async def _send(self, request: TraceRequest, used: "Used", sent_at: float) -> Received:
        try:
            received = await self._transport.complete(request)
        except RetryableError as exc:
            if not exc.may_be_billed:
                used.nothing()
            self._slow_down(exc, sent_at)
            raise
        except RejectedRequestError:
            used.nothing()
            raise
        except FatalTeacherError:
            used.nothing()
            self.stop()  # at once: those that wait for a slot must not be sent
            raise
        used.reported(received.usage, price(self._prices, received.usage))
        self._pacer.slots.succeeded()
        return received

    async def _reserve(self, most: float | None) -> None:
        if not await self._budget.reserve(most or 0.0):
            raise BudgetSpentError(
                f"teacher.max_usd {self._budget.max_usd:g}: {self._budget.spent_usd:.4f} USD are spent and the next request may "
                f"cost up to {most:.4f}; answers so far are kept. Raise teacher.max_usd, or lower teacher.max_documents or "
                "teacher.max_completion_tokens"
            )

    def _slow_down(self, error: RetryableError, sent_at: float) -> None:
        if error.is_overload:
            self._pacer.slots.overloaded(sent_at, time.monotonic())
            self._pacer.hold(min(error.pause_s, LONGEST_RETRY_AFTER_S))

    def _count_connection(self, error: RetryableError) -> None:
        self._failed_connections = self._failed_connections + 1 if error.is_connection else 0
        if self._failed_connections >= self._rules.connection_failure_limit:
            raise FatalTeacherError(
                f"{self._endpoint.name}: {self._failed_connections} connections failed in a row, the last with: {error}; "
                "the teacher has stopped or cannot be reached; start it and run again, answers so far are kept"
            )

    def _is_last(self, tried: Attempts, error: RetryableError) -> bool:
        if isinstance(error, StreamCutError):
            tried.keep_longest(error.received)
        return tried.count >= self._rules.max_attempts or tried.cut_count >= self._rules.max_cut_attempts

    def _given_up(self, request: TraceRequest, tried: Attempts, error: RetryableError) -> Answer:
        """The longest cut answer if text came at all, else the last error."""
        if tried.longest_cut is not None:
            return answered(request, self._endpoint, self._prices, tried.longest_cut, tried.count, None)
        return failed(request, self._endpoint, tried.count, error.kind, str(error))

    def _abandoned(self, request: TraceRequest, tried: Attempts) -> Answer:
        """A row that keeps what attempts may have cost, so that the cap of the next run knows of it; else none."""
        if not tried.at_risk_usd:
            raise AbandonedError("no more is asked")
        return self._ended(failed(request, self._endpoint, tried.count, "abandoned", ABANDONED), tried)

    def stop(self) -> None:
        """Send nothing again: what is in flight may arrive, what waits for its next attempt is left for the next run."""
        self._stopping.set()
        self._pacer.stop()

    def _pause_s(self, attempt: int, asked_s: float) -> float:
        grown = min(MAX_PAUSE_S, self._rules.first_pause_s * 2.0 ** (attempt - 1))
        return max(min(asked_s, LONGEST_RETRY_AFTER_S), grown * self._random.uniform(0.5, 1.0))

    def _ended(self, answer: Answer, tried: Attempts) -> Answer:
        """Count how requests end; too many failures stop the run while money is left.

        Raises:
            FatalTeacherError: more than `max_error_frac` of the last requests failed.
        """
        has_failed = not is_answered(answer)
        self._endings.append(not has_failed)
        failures = self._endings.count(False)
        # an answer is kept whatever became of the others: it is paid for
        if has_failed and len(self._endings) == JUDGED_ENDINGS and failures > self._rules.max_error_frac * JUDGED_ENDINGS:
            raise FatalTeacherError(
                f"{self._endpoint.name}: {failures} of the last {JUDGED_ENDINGS} requests failed "
                f"({failures / JUDGED_ENDINGS:.3f} > teacher.max_error_frac {self._rules.max_error_frac}), the last with: "
                f"{answer.error_kind}: {answer.error_text}; answers so far are kept, run again to ask the rest"
            )
        return answer.model_copy(update={"at_risk_usd": tried.at_risk_usd})


class Used:
    """What one attempt used: nothing until it is sent, its most until the server reports."""

    def __init__(self, most_usd: float | None) -> None:
        """Begin with nothing; `most_usd` is null if prices are unknown."""
        self._most = most_usd
        self.usage = Usage(0, 0, 0, 0)
        self.usd = 0.0
        self.is_unsure = False

    def nothing(self) -> None:
        """It was refused, or never got there."""
        self.usage, self.usd, self.is_unsure = Usage(0, 0, 0, 0), 0.0, False

    def may_be_billed(self) -> None:
        """It is on its way: it counts at its most."""
        self.usage, self.usd, self.is_unsure = Usage(), self._most or 0.0, True

    def reported(self, usage: Usage, usd: float | None) -> None:
        """The server said what it took."""
        self.usage = usage
        if usd is not None:
            self.usd, self.is_unsure = usd, False

    @property
    def at_risk_usd(self) -> float | None:
        """What it may have cost without a report; null if prices are unknown."""
        if self._most is None:
            return None
        return self._most if self.is_unsure else 0.0


def _length(received: Received) -> int:
    return len(received.completion_text) + len(received.reasoning_text or "")
