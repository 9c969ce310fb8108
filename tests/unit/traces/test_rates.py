import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.traces.limits import MinuteRate, Pacer, Slots


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_minute_rate_lets_no_minute_hold_more_than_it_may(data: st.DataObject) -> None:
    per_minute = data.draw(st.floats(1, 5000))
    shares = st.floats(0.0001, 1) | st.just(1.0) | st.floats(0.0001, 1).map(lambda share: share / 50)
    asked = data.draw(st.lists(st.tuples(shares, st.sampled_from([0.0, 0.0, 0.3, 7.0, 59.0, 200.0])), max_size=40))
    clock, used = Clock(), list[tuple[float, float]]()

    async def work() -> None:
        rate = MinuteRate(per_minute, clock, clock.sleep)
        for share, idle_s in asked:
            clock.now += idle_s
            await rate.take(share * per_minute)
            used.append((clock.now, share * per_minute))

    asyncio.run(work())
    for begin, _ in used:
        assert sum(units for at, units in used if begin <= at < begin + 59.999) <= per_minute * (1 + 1e-6)


@pytest.mark.parametrize("per_minute", [1.0, 2.0, 60.0, 100.0, 6000.0])
def test_minute_rate_lets_nearly_as_much_pass_as_it_may(per_minute: float) -> None:
    clock = Clock()

    async def work() -> None:
        rate = MinuteRate(per_minute, clock, clock.sleep)
        for _ in range(int(10 * per_minute)):
            await rate.take(1)

    asyncio.run(work())
    minutes = (clock.now - 100) / 60
    assert 9 <= minutes <= (21 if per_minute <= 2 else 10.3)


def test_minute_rate_waits_for_what_was_used_beyond_what_was_expected() -> None:
    def seconds(used: float) -> float:
        clock = Clock()

        async def work() -> None:
            rate = MinuteRate(6000.0, clock, clock.sleep)
            await rate.take(100)
            rate.settle(100, used)
            await rate.take(100)

        asyncio.run(work())
        return clock.now - 100

    assert seconds(100) == pytest.approx(100 / 98.333, rel=1e-3)
    assert seconds(300) == pytest.approx(300 / 98.333, rel=1e-3)
    assert seconds(0) == 0
    assert seconds(-1e9) == 0


def test_minute_rate_does_not_save_up_while_idle() -> None:
    clock = Clock()

    async def work() -> None:
        rate = MinuteRate(60.0, clock, clock.sleep)
        clock.now += 1000
        await rate.take(1)
        await rate.take(1)

    asyncio.run(work())
    assert clock.now > 1100.9


def test_minute_rate_lets_what_is_more_than_a_minute_pass_alone_and_has_it_paid_off() -> None:
    clock, begun = Clock(), list[float]()

    async def work() -> None:
        rate = MinuteRate(600.0, clock, clock.sleep)
        for units in (1, 1200, 1):
            await rate.take(units)
            begun.append(clock.now - 100)

    asyncio.run(work())
    assert begun == [0, pytest.approx(60), pytest.approx(60 + 1200 / 9.83, rel=0.02)]


def test_pacer_paces_by_requests_and_by_tokens() -> None:
    def seconds(requests: float | None, tokens: float | None) -> float:
        clock = Clock()

        async def work() -> None:
            by_request = MinuteRate(requests, clock, clock.sleep) if requests else None
            by_token = MinuteRate(tokens, clock, clock.sleep) if tokens else None
            pacer = Pacer(Slots(100), by_request, by_token)
            for _ in range(61):
                await pacer.enter(50)
                pacer.leave(50, 50, 10)

        asyncio.run(work())
        return clock.now - 100

    assert seconds(None, None) == 0
    assert seconds(60, None) == pytest.approx(61, abs=2)
    assert seconds(None, 1500) == pytest.approx(122, abs=4)
    assert seconds(60, 1500) == pytest.approx(122, abs=4)
