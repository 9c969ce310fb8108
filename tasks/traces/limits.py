"""How fast to ask: requests in flight that adapt to the server, rates a minute, and pauses the server asks of everybody."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

FIRST_SLOTS = 64
"""In flight at the start; doubles with every round of successes until the server says that it is too much."""

BACK_OFF = 0.7
"""Factor on the requests in flight after overload (between TCP Reno's 0.5 and CUBIC's 0.7)."""

MINUTE_S = 60.0

FIRST_COMPLETION_TOKENS = 1000
"""Tokens out a request is expected to take before any answer has been seen."""


class Slots:
    """Requests that may be in flight: multiplied down after overload, added up after success, at most `most`.

    Source: additive increase, multiplicative decrease: Chiu and Jain 1989, doi:10.1016/0169-7552(89)90019-6; the doubling
    before the first overload is TCP's slow start, RFC 5681, section 3.1.
    """

    def __init__(self, most: int, first: int = FIRST_SLOTS) -> None:
        """Begin with `first` slots, or `most` if that is less."""
        self.most = most
        self.limit = float(min(most, first))
        self.in_flight = 0
        self._is_doubling = True
        self._lowered_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a slot and take it; first come, first served."""
        if self.in_flight < int(self.limit) and not self._waiting:
            self.in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        self._hand_out()

    def succeeded(self) -> None:
        """Count an answer: one more slot for each while doubling, else one more for each round."""
        self.limit = min(float(self.most), self.limit + (1.0 if self._is_doubling else 1.0 / self.limit))
        self._hand_out()

    def overloaded(self, sent_at: float, now: float) -> None:
        """Count a 429 or timeout of a request sent at `sent_at`; those sent before the last reduction change nothing more."""
        self._is_doubling = False
        if sent_at >= self._lowered_at:
            self.limit = max(1.0, min(self.limit, self.in_flight + 1.0) * BACK_OFF)
            self._lowered_at = now

    def _hand_out(self) -> None:
        while self._waiting and self.in_flight < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.cancelled():
                self.in_flight += 1
                turn.set_result(None)


async def sleep_unless(stopped: asyncio.Event, seconds: float) -> None:
    """Sleep, but no longer than until `stopped` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopped.wait(), seconds)


class MinuteRate:
    """So many units in any minute, spread over it; what was used beyond what was expected is waited for afterwards."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        """Allow a second's worth at once, one unit at least, and refill so that no minute holds more than `per_minute`."""
        self._burst = max(1.0, per_minute / 60)
        self._per_s = max((per_minute - self._burst) / 60, per_minute / 120)
        self._per_minute = per_minute
        self._level = self._burst
        self._minute: deque[tuple[float, float]] = deque()
        self._in_minute = 0.0
        self._stopped = asyncio.Event()
        self._clock, self._sleep = clock, sleep or partial(sleep_unless, self._stopped)
        self._filled_at = clock()
        self._turn = asyncio.Lock()

    async def take(self, units: float) -> None:
        """Wait until `units` may be used, and use them; more than the burst are used once it is full, and paid off later."""
        async with self._turn:
            while (wait_s := self._wait_s(units)) > 0 and not self._stopped.is_set():
                await self._sleep(wait_s)
            self._level -= units
            self._note(self._filled_at, units)

    def settle(self, expected: float, used: float) -> None:
        """Correct what was expected to what was used."""
        self._level = min(self._burst, self._refilled() + expected - used)
        # given back with the oldest, so that no minute holds less than was used in it
        oldest = self._minute[0][0] if self._minute else self._filled_at
        self._note(self._filled_at if used > expected else oldest, used - expected)

    def stop(self) -> None:
        """Let nobody wait any more: nothing will be sent."""
        self._stopped.set()

    def _note(self, at: float, units: float) -> None:
        self._in_minute += units
        if units < 0:
            self._minute.appendleft((at, units))
        else:
            self._minute.append((at, units))

    def _wait_s(self, units: float) -> float:
        """Seconds until the bucket is full enough, and until what is more than a bucket fits into its minute."""
        short = min(units, self._burst) - self._refilled()
        if short > 1e-9:
            return short / self._per_s
        while self._minute and self._minute[0][0] <= self._filled_at - MINUTE_S + 1e-9:
            self._in_minute -= self._minute.popleft()[1]
        if not self._minute or units + self._in_minute <= self._per_minute * (1 + 1e-9):
            return 0.0
        return self._minute[0][0] + MINUTE_S - self._filled_at

    def _refilled(self) -> float:
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._filled_at) * self._per_s)
        self._filled_at = now
        return self._level


class Pacer:
    """When the next request may be sent: after the server's own pause, within the rates, with a slot free."""

    def __init__(self, slots: Slots, requests: MinuteRate | None = None, tokens: MinuteRate | None = None) -> None:
        """Pace by slots and the rates that are set."""
        self.slots = slots
        self._requests = requests
        self._tokens = tokens
        self._held_until = float("-inf")
        self._stopped = asyncio.Event()
        self._completion_tokens = float(FIRST_COMPLETION_TOKENS)
        self._seen_count = 0

    def expected_tokens(self, prompt_bytes: int, max_completion_tokens: int) -> float:
        """Tokens a request will take: four bytes a token in, and out what answers took so far."""
        return prompt_bytes / 4 + min(self._completion_tokens, max_completion_tokens)

    async def enter(self, expected_tokens: float) -> None:
        """Wait for the turn and take a slot; `leave` gives it back."""
        if self._requests:
            await self._requests.take(1)
        if self._tokens:
            await self._tokens.take(expected_tokens)
        await self.slots.acquire()
        try:
            while (held_s := self._held_until - time.monotonic()) > 0 and not self._stopped.is_set():
                await sleep_unless(self._stopped, held_s)
        except asyncio.CancelledError:
            self.slots.release()
            raise

    def leave(self, expected_tokens: float, used_tokens: float | None, completion_tokens: int | None) -> None:
        """Give the slot back; `used_tokens` null: unknown, taken as expected."""
        self.slots.release()
        if self._tokens and used_tokens is not None:
            self._tokens.settle(expected_tokens, used_tokens)
        if completion_tokens:  # an attempt that was refused says nothing of how long answers are
            self._seen_count += 1
            self._completion_tokens += (completion_tokens - self._completion_tokens) / min(self._seen_count, 100)

    def hold(self, pause_s: float) -> None:
        """Send nothing for so long: the server asked for it."""
        self._held_until = max(self._held_until, time.monotonic() + pause_s)

    def stop(self) -> None:
        """Let nobody wait any more but for a slot: nothing will be sent."""
        self._stopped.set()
        for rate in (self._requests, self._tokens):
            if rate:
                rate.stop()
