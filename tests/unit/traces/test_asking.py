import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from schemas.errors import BudgetSpentError, FatalTeacherError, StorageError
from tasks.traces import asking
from tasks.traces.answers import Answer, Received, answered
from tasks.traces.asking import RequestStream, ask_all
from tasks.traces.client import AbandonedError
from tasks.traces.endpoints import Endpoint
from tasks.traces.money import Prices, Usage
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import TraceRequest, make_request

ENDPOINT = Endpoint("http://host/v1", "model", "open", 0.0, 100)
REQUESTS = [make_request(ENDPOINT, str(i), "train", open_prompt(f"text {i}", 2, ["a"])) for i in range(20)]


@pytest.fixture(autouse=True)
def quick_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FLUSH_EVERY_S", 0.005)


class FakeTeacher:
    """Answers after a moment; has an error of its own at one document, and is slow at others; counts who is in flight."""

    def __init__(self, at: str = "", error: Exception | None = None, slow: Sequence[str] = (), slow_s: float = 0.1) -> None:
        self._at, self._error = at, error
        self._slow, self._slow_s = slow, slow_s
        self.asked: list[str] = []
        self.in_flight = self.most_in_flight = 0
        self.is_stopped = False

    async def ask(self, request: TraceRequest) -> Answer:
        if self.is_stopped:
            raise AbandonedError("no more is asked")
        self.asked.append(request.document_id)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if request.document_id == self._at and self._error:
                raise self._error
            await asyncio.sleep(self._slow_s if request.document_id in self._slow else 0.005)
        finally:
            self.in_flight -= 1
        return answered(request, ENDPOINT, Prices(), Received("x", None, "stop", Usage()), 1, None)

    def stop(self) -> None:
        self.is_stopped = True


class FakeKeeper:
    """Remembers what was kept, what was flushed and from where; fails if it is told to."""

    def __init__(self, keep_error: Exception | None = None, flush_error: Exception | None = None, flush_s: float = 0.0) -> None:
        self._keep_error, self._flush_error, self._flush_s = keep_error, flush_error, flush_s
        self._flushing = threading.Lock()
        self.kept: list[Answer] = []
        self.flushed_counts: list[int] = []
        self.threads: set[str] = set()

    @property
    def documents(self) -> list[int]:
        numbers = {request.request_hash: int(request.document_id) for request in REQUESTS}
        return sorted(numbers[answer.request_hash] for answer in self.kept)

    def keep(self, answers: Sequence[Answer]) -> None:
        if self._keep_error:
            raise self._keep_error
        self.kept += answers

    def flush(self) -> None:
        assert self._flushing.acquire(blocking=False), "flushed twice at the same time"
        try:
            count = len(self.kept)
            self.threads.add(threading.current_thread().name)
            time.sleep(self._flush_s)
            if self._flush_error and count:
                raise self._flush_error
            self.flushed_counts.append(count)
        finally:
            self._flushing.release()


def _run(teacher: FakeTeacher, keeper: FakeKeeper, workers: int = 4, requests: Sequence[TraceRequest] = REQUESTS) -> None:
    asyncio.run(asyncio.wait_for(_ask(teacher, keeper, workers, requests), 5))


async def _ask(teacher: FakeTeacher, keeper: FakeKeeper, workers: int = 4, requests: Sequence[TraceRequest] = REQUESTS) -> None:
    client: Any = teacher
    await ask_all(client, RequestStream(iter([list(requests[:7]), [], list(requests[7:])])), workers, keeper)


@pytest.mark.parametrize("workers", [1, 7, 100])
def test_ask_all_keeps_every_answer_once_within_the_workers(workers: int) -> None:
    teacher, keeper = FakeTeacher(), FakeKeeper()
    _run(teacher, keeper, workers)
    assert keeper.documents == list(range(20))
    assert teacher.most_in_flight == min(workers, 20)
    assert keeper.flushed_counts[-1] == 20


def test_ask_all_of_nothing_ends() -> None:
    keeper = FakeKeeper()
    _run(FakeTeacher(), keeper, requests=[])
    assert keeper.kept == []


def test_ask_all_flushes_while_it_asks_and_not_in_the_event_loop() -> None:
    keeper = FakeKeeper()
    _run(FakeTeacher(slow=["19"], slow_s=0.15), keeper)
    assert any(0 < count < 20 for count in keeper.flushed_counts)
    assert keeper.threads - {threading.main_thread().name}


def test_ask_all_stops_at_a_fatal_error_and_keeps_what_was_on_its_way() -> None:
    teacher, keeper = FakeTeacher("6", FatalTeacherError("gone")), FakeKeeper()
    with pytest.raises(FatalTeacherError, match="gone"):
        _run(teacher, keeper)
    assert len(teacher.asked) < 20
    assert keeper.documents == sorted(int(name) for name in teacher.asked if name != "6")
    assert keeper.flushed_counts[-1] == len(keeper.kept)


def test_ask_all_waits_after_a_fatal_error_no_longer_than_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "GRACE_S", 0.05)
    teacher, keeper = FakeTeacher("3", FatalTeacherError("gone"), slow=["0"], slow_s=60), FakeKeeper()
    with pytest.raises(FatalTeacherError, match="gone"):
        _run(teacher, keeper)
    assert keeper.documents == [1, 2]
    assert teacher.in_flight == 0


def test_ask_all_waits_for_everything_in_flight_once_the_money_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "GRACE_S", 0.01)
    teacher, keeper = FakeTeacher("3", BudgetSpentError("no more"), slow=["0", "1"]), FakeKeeper()
    with pytest.raises(BudgetSpentError, match="no more"):
        _run(teacher, keeper)
    assert keeper.documents == [0, 1, 2]


@pytest.mark.parametrize("error", [StorageError("disk full"), ValueError("a bug of ours")])
def test_ask_all_asks_no_more_when_answers_cannot_be_kept(error: Exception) -> None:
    teacher = FakeTeacher(slow=["1"], slow_s=60)
    with pytest.raises(type(error), match=str(error)):
        _run(teacher, FakeKeeper(keep_error=error))
    assert len(teacher.asked) < 20
    assert teacher.in_flight == 0


def test_ask_all_asks_no_more_when_answers_do_not_reach_the_disk() -> None:
    teacher = FakeTeacher(slow=["1"], slow_s=60)
    with pytest.raises(StorageError, match="disk full"):
        _run(teacher, FakeKeeper(flush_error=StorageError("disk full")), requests=REQUESTS[:4])


def test_ask_all_ends_with_the_error_of_a_flush_that_was_under_way() -> None:
    keeper = FakeKeeper(flush_error=StorageError("disk full"), flush_s=0.1)
    with pytest.raises(StorageError, match="disk full"):
        _run(FakeTeacher(), keeper, requests=REQUESTS[:2])


def test_ask_all_flushes_once_at_a_time_to_the_last() -> None:
    keeper = FakeKeeper(flush_s=0.05)
    _run(FakeTeacher(), keeper, workers=20)
    assert keeper.flushed_counts[-1] == 20


def test_ask_all_works_outside_the_main_thread() -> None:
    keeper = FakeKeeper()
    thread = threading.Thread(target=_run, args=(FakeTeacher(), keeper))
    thread.start()
    thread.join()
    assert keeper.documents == list(range(20))


def _interrupted(teacher: FakeTeacher, keeper: FakeKeeper, *after_s: float, by: signal.Signals = signal.SIGINT) -> float:
    """Ask while interrupts come after so many seconds; how long it took."""
    seconds = 0.0

    async def run() -> None:
        nonlocal seconds
        before, started = signal.getsignal(signal.SIGINT), time.monotonic()
        for seconds_ in after_s:
            asyncio.get_running_loop().call_later(seconds_, os.kill, os.getpid(), by)
        try:
            await _ask(teacher, keeper, requests=REQUESTS[:8])
        finally:
            seconds = time.monotonic() - started
            assert signal.getsignal(signal.SIGINT) is before

    outside = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run())
    assert signal.getsignal(signal.SIGINT) is outside
    return seconds


def test_ask_all_keeps_what_is_in_flight_at_an_interrupt() -> None:
    teacher, keeper = FakeTeacher(slow=["0", "1", "2", "3"], slow_s=0.15), FakeKeeper()
    assert _interrupted(teacher, keeper, 0.05) < 1
    assert (keeper.documents, len(teacher.asked)) == ([0, 1, 2, 3], 4)
    assert (teacher.is_stopped, keeper.flushed_counts[-1]) == (True, 4)


def test_ask_all_keeps_what_is_in_flight_at_sigterm() -> None:
    before = signal.getsignal(signal.SIGTERM)
    teacher, keeper = FakeTeacher(slow=["0", "1", "2", "3"], slow_s=0.15), FakeKeeper()
    assert _interrupted(teacher, keeper, 0.05, by=signal.SIGTERM) < 1
    assert (keeper.documents, len(teacher.asked)) == ([0, 1, 2, 3], 4)
    assert signal.getsignal(signal.SIGTERM) is before


def test_ask_all_drops_what_is_in_flight_at_a_second_interrupt(caplog: pytest.LogCaptureFixture) -> None:
    teacher, keeper = FakeTeacher(slow=["0", "1"], slow_s=60), FakeKeeper()
    assert _interrupted(teacher, keeper, 0.1, 0.15) < 2
    assert keeper.documents == [2, 3, 4, 5, 6, 7]
    gc.collect()
    assert "never retrieved" not in caplog.text
    assert (teacher.in_flight, keeper.flushed_counts[-1]) == (0, 6)


def test_ask_all_waits_after_an_interrupt_no_longer_than_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "GRACE_S", 0.05)
    teacher, keeper = FakeTeacher(slow=["0"], slow_s=60), FakeKeeper()
    assert _interrupted(teacher, keeper, 0.1) < 2
    assert keeper.documents == [1, 2, 3, 4, 5, 6, 7]


def test_request_stream_makes_chunks_when_they_are_needed() -> None:
    made = 0

    def chunks() -> Iterator[list[TraceRequest]]:
        nonlocal made
        for start in range(0, 20, 5):
            made += 1
            yield REQUESTS[start : start + 5]

    async def run() -> None:
        stream = RequestStream(chunks())
        assert made == 0
        taken = [await stream.take() for _ in range(5)]
        assert (taken, made) == (REQUESTS[:5], 1)
        taken += await asyncio.gather(*(stream.take() for _ in range(6)))
        assert (taken, made) == (REQUESTS[:11], 3)
        stream.close()
        assert (await stream.take(), made) == (None, 3)

    asyncio.run(run())


def test_request_stream_gives_nothing_once_it_is_closed_though_a_chunk_was_being_made() -> None:
    making, go_on = threading.Event(), threading.Event()

    def chunks() -> Iterator[list[TraceRequest]]:
        making.set()
        go_on.wait(5)
        yield REQUESTS

    async def run() -> list[TraceRequest | None]:
        stream = RequestStream(chunks())
        taking = [asyncio.ensure_future(stream.take()) for _ in range(3)]
        await asyncio.to_thread(making.wait, 5)
        stream.close()
        go_on.set()
        return await asyncio.gather(*taking)

    assert asyncio.run(run()) == [None] * 3


def test_ask_all_tells_the_error_of_making_requests() -> None:
    def chunks() -> Iterator[list[TraceRequest]]:
        yield REQUESTS[:1]
        raise StorageError("the index is gone")

    client: Any = FakeTeacher()
    keeper = FakeKeeper()
    with pytest.raises(StorageError, match="the index is gone"):
        asyncio.run(ask_all(client, RequestStream(chunks()), 3, keeper))
