"""Many requests at once: so many in flight, each answer kept before it counts, and nothing paid for is thrown away."""

import asyncio
import logging
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from schemas.errors import BudgetSpentError, TeacherError
from tasks.traces.answers import Answer
from tasks.traces.client import AbandonedError, Teacher
from tasks.traces.requests import TraceRequest

logger = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.05
"""Answers that arrive within so long are flushed to disk together; a kill loses none of them, a power cut might."""

ENDINGS = (signal.SIGINT, signal.SIGTERM)
GRACE_S = 30.0
"""After a fatal error or an interrupt, answers already on their way get so long to arrive."""


class Keeper(Protocol):
    """Where answers go: stored as they come, counted once they are flushed."""

    def keep(self, answers: Sequence[Answer]) -> None:
        """Store answers; called in the event loop, so it must be quick."""
        ...

    def flush(self) -> object:
        """Return once what was kept is on disk; called in a thread."""
        ...


class RequestStream:
    """Requests one by one; the next chunk is made in a thread when the last has been taken."""

    def __init__(self, chunks: Iterator[list[TraceRequest]]) -> None:
        """Take chunks, made when they are needed."""
        self._chunks = chunks
        self._ready: deque[TraceRequest] = deque()
        self._turn = asyncio.Lock()
        self._is_open = True

    async def take(self) -> TraceRequest | None:
        """The next request; null when there is none or no more is to be asked."""
        while self._is_open and not self._ready:
            async with self._turn:
                if self._is_open and not self._ready:
                    chunk = await asyncio.to_thread(next, self._chunks, None)
                    self._is_open = self._is_open and chunk is not None
                    self._ready.extend(chunk if chunk and self._is_open else ())
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Nobody takes another request."""
        self._is_open = False
        self._ready.clear()


async def ask_all(teacher: Teacher, requests: RequestStream, worker_count: int, keeper: Keeper) -> None:
    """Ask every request and hand each answer to `keeper` as it arrives.

    Raises:
        FatalTeacherError: no request can succeed; what had arrived is kept.
        BudgetSpentError: the money is spent; what was in flight is kept.
        StorageError: an answer could not be kept; no more is asked.
        KeyboardInterrupt: the user stopped it; what arrived within the grace is kept.
    """
    arrived, ending = asyncio.Event(), asyncio.Event()
    flushing = asyncio.create_task(_keep_flushing(arrived, ending, keeper))
    workers = [asyncio.create_task(_work(teacher, requests, keeper, arrived)) for _ in range(worker_count)]
    interrupted = asyncio.Event()
    try:
        with interrupts(interrupted):
            await _until_done(teacher, requests, workers, flushing, interrupted)
    finally:
        requests.close()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        ending.set()
        arrived.set()
        await flushing  # to its end: cancelling it would leave its thread at work and its error unheard


async def _work(teacher: Teacher, requests: RequestStream, keeper: Keeper, arrived: asyncio.Event) -> None:
    while (request := await requests.take()) is not None:
        try:
            answer = await teacher.ask(request)
        except AbandonedError:
            return
        keeper.keep([answer])  # at once: a kill between its arrival and the next flush must not lose it
        arrived.set()


async def _keep_flushing(arrived: asyncio.Event, ending: asyncio.Event, keeper: Keeper) -> None:
    while not ending.is_set():
        await arrived.wait()
        arrived.clear()
        await asyncio.to_thread(keeper.flush)
        await asyncio.sleep(FLUSH_EVERY_S)
    await asyncio.to_thread(keeper.flush)


async def _until_done(
    teacher: Teacher,
    requests: RequestStream,
    workers: Sequence[asyncio.Task[None]],
    flushing: asyncio.Task[None],
    interrupted: asyncio.Event,
) -> None:
    stop = asyncio.create_task(interrupted.wait())
    all_done = asyncio.gather(*workers)  # ends with the last of them, or with the first error
    all_done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # seen, also where nobody asks any more
    try:
        ends: list[asyncio.Future[object]] = [all_done, flushing, stop]  # type: ignore[list-item]  # futures of different results
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        error = next((exc for ended in ends[:2] if ended.done() and (exc := ended.exception())), None)
        if error is None and not stop.done():
            return
        requests.close()
        teacher.stop()
        if not isinstance(error, TeacherError | None):
            raise error
        await _let_arrive(workers, interrupted, error)
        raise error or KeyboardInterrupt
    finally:
        stop.cancel()


async def _let_arrive(workers: Sequence[asyncio.Task[None]], interrupted: asyncio.Event, error: TeacherError | None) -> None:
    """Give answers on their way time to arrive: all of it where the money is spent, a grace otherwise."""
    pending = [worker for worker in workers if not worker.done()]
    if not pending:
        return
    grace_s = None if isinstance(error, BudgetSpentError) else GRACE_S
    if error is None:
        logger.warning("interrupted: up to %.0f s for answers on their way; press again to drop them", GRACE_S)
    interrupted.clear()
    again = asyncio.create_task(interrupted.wait())
    all_arrived = asyncio.create_task(asyncio.wait(pending))
    await asyncio.wait({all_arrived, again}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    all_arrived.cancel()


@contextmanager
def interrupts(interrupted: asyncio.Event) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into an event for the block, where we may: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, before = asyncio.get_running_loop(), {number: signal.getsignal(number) for number in ENDINGS}
    for number in ENDINGS:
        loop.add_signal_handler(number, interrupted.set)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
