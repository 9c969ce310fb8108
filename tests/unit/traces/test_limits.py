import asyncio
import random
import time
from collections.abc import Coroutine

import pytest

from tasks.traces.limits import BACK_OFF, FIRST_SLOTS, Pacer, Slots


async def _settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def _run(work: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 5))


async def _taken(slots: Slots, count: int) -> None:
    for _ in range(count):
        await asyncio.wait_for(slots.acquire(), 0.5)


def test_slots_double_with_every_round_of_successes() -> None:
    slots = Slots(1000)
    assert slots.limit == FIRST_SLOTS
    for _ in range(FIRST_SLOTS):
        slots.succeeded()
    assert slots.limit == 2 * FIRST_SLOTS


def test_slots_begin_and_end_at_most_where_that_is_less() -> None:
    slots = Slots(3)
    assert slots.limit == 3
    for _ in range(10):
        slots.succeeded()
    assert slots.limit == 3


def test_slots_rise_by_one_a_round_after_the_first_overload() -> None:
    async def work() -> None:
        slots = Slots(100, first=20)
        await _taken(slots, 20)
        slots.overloaded(sent_at=1.0, now=2.0)
        assert slots.limit == pytest.approx(20 * BACK_OFF)
        for _ in range(14):
            slots.succeeded()
        assert slots.limit == pytest.approx(15, abs=0.1)

    _run(work())


def test_slots_are_lowered_once_a_round() -> None:
    async def work() -> None:
        slots = Slots(100, first=100)
        await _taken(slots, 100)
        slots.overloaded(sent_at=1.0, now=5.0)
        for sent_at in (0.5, 1.0, 4.9):
            slots.overloaded(sent_at, now=6.0)
        assert slots.limit == pytest.approx(100 * BACK_OFF)
        slots.overloaded(sent_at=5.0, now=7.0)
        assert slots.limit == pytest.approx(100 * BACK_OFF**2)

    _run(work())


def test_slots_are_lowered_from_what_is_in_flight() -> None:
    async def work() -> None:
        slots = Slots(100, first=100)
        await _taken(slots, 9)
        slots.overloaded(sent_at=1.0, now=2.0)
        assert slots.limit == pytest.approx(10 * BACK_OFF)

    _run(work())


def test_slots_stay_at_one_at_least() -> None:
    async def work() -> None:
        slots = Slots(2)
        for round_ in range(20):
            slots.overloaded(sent_at=round_, now=round_)
        assert slots.limit == 1
        await _taken(slots, 1)
        waiting = asyncio.ensure_future(slots.acquire())
        await _settle()
        assert not waiting.done()
        slots.release()
        await asyncio.wait_for(waiting, 1)

    _run(work())


def test_slots_serve_first_come_first() -> None:
    async def work() -> None:
        slots, order = Slots(1), list[int]()

        async def one(number: int) -> None:
            await slots.acquire()
            order.append(number)
            await asyncio.sleep(0)
            slots.release()

        await asyncio.gather(*(one(number) for number in range(10)))
        assert order == list(range(10))

    _run(work())


def test_slots_let_nobody_overtake_who_waits() -> None:
    async def work() -> None:
        slots = Slots(1)
        await slots.acquire()
        waiting = asyncio.ensure_future(slots.acquire())
        await _settle()
        slots.release()
        late = asyncio.ensure_future(slots.acquire())
        await _settle()
        assert (waiting.done(), late.done(), slots.in_flight) == (True, False, 1)
        slots.release()
        await late

    _run(work())


def test_slots_hand_a_success_to_those_who_wait() -> None:
    async def work() -> None:
        slots = Slots(2, first=1)
        await slots.acquire()
        waiting = asyncio.ensure_future(slots.acquire())
        await _settle()
        slots.succeeded()
        await asyncio.wait_for(waiting, 1)
        assert slots.in_flight == 2

    _run(work())


@pytest.mark.parametrize("is_handed_out", [True, False])
def test_slots_give_on_what_a_cancelled_one_would_have_had(is_handed_out: bool) -> None:
    async def work() -> None:
        slots = Slots(1)
        await slots.acquire()
        gone, next_ = asyncio.ensure_future(slots.acquire()), asyncio.ensure_future(slots.acquire())
        await _settle()
        if is_handed_out:
            slots.release()  # gone has the slot and has not run yet
            gone.cancel()
        else:
            gone.cancel()
            slots.release()
        await asyncio.wait_for(next_, 1)
        assert (gone.cancelled(), slots.in_flight) == (True, 1)
        slots.release()
        assert slots.in_flight == 0

    _run(work())


@pytest.mark.parametrize("seed", range(10))
def test_slots_leak_none_whatever_happens(seed: int) -> None:
    draw, slots = random.Random(seed), Slots(8)
    holding = 0

    async def one() -> None:
        nonlocal holding
        for _ in range(draw.randrange(4)):
            await asyncio.sleep(0)
        await slots.acquire()
        holding += 1
        try:
            assert holding <= slots.in_flight <= 8
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
            if draw.random() < 0.1:
                slots.overloaded(time.monotonic(), time.monotonic())
            else:
                slots.succeeded()
        finally:
            holding -= 1
            slots.release()

    async def work() -> None:
        tasks = [asyncio.ensure_future(one()) for _ in range(200)]
        for _ in range(40):
            draw.choice(tasks).cancel()
            await asyncio.sleep(0)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
        assert slots.in_flight == holding == 0
        assert 1 <= slots.limit <= 8
        await _taken(slots, int(slots.limit))

    _run(work())


def test_pacer_holds_everybody_for_as_long_as_the_server_asks() -> None:
    async def work() -> None:
        pacer, begin = Pacer(Slots(4)), time.monotonic()
        pacer.hold(0.05)
        pacer.hold(0.01)
        await asyncio.gather(pacer.enter(1), pacer.enter(1))
        assert time.monotonic() - begin >= 0.05
        assert pacer.slots.in_flight == 2

    _run(work())


def test_pacer_gives_the_slot_back_of_one_who_is_cancelled_while_held() -> None:
    async def work() -> None:
        pacer = Pacer(Slots(1))
        pacer.hold(60)
        entering = asyncio.ensure_future(pacer.enter(1))
        await _settle()
        assert pacer.slots.in_flight == 1
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        assert pacer.slots.in_flight == 0

    _run(work())


def test_pacer_expects_what_answers_took_so_far() -> None:
    async def work() -> None:
        pacer = Pacer(Slots(10))
        assert pacer.expected_tokens(400, 4096) == 100 + 1000
        assert pacer.expected_tokens(400, 50) == 100 + 50
        for completion in (200, 400, None, 0):
            await pacer.enter(1)
            pacer.leave(1, None, completion)
        assert pacer.expected_tokens(400, 4096) == 100 + 300, "an attempt that was refused says nothing of answers"

    _run(work())
