import asyncio
import random

import pytest

from schemas.config import TeacherConfig
from tasks.traces.money import Budget, Prices, Usage, most_usd, price, prices_of

M = 1_000_000


def test_usage_tells_answer_and_total_tokens_where_known() -> None:
    assert (Usage(10, 2, 8, 5).answer_tokens, Usage(10, 2, 8, 5).total_tokens) == (3, 18)
    assert Usage(10, None, 8).answer_tokens is None
    assert Usage(10).total_tokens is None
    assert Usage(None, None, 8).total_tokens is None


@pytest.mark.parametrize(
    ("prices", "usage", "usd"),
    [
        (Prices(1.0, 10.0), Usage(M, None, 100_000), 2.0),
        (Prices(1.0, 10.0), Usage(M, 400_000, 100_000), 2.0),
        (Prices(1.0, 10.0, 0.25), Usage(M, 400_000, 100_000), 0.6 + 0.1 + 1.0),
        (Prices(1.0, 10.0, 0.0), Usage(M, M, 0), 0.0),
        (Prices(1.0, 10.0, 0.25), Usage(M, None, 100_000, 90_000), 2.0),
        (Prices(0.0, 0.0), Usage(5, 0, 5), 0.0),
        (Prices(0.05, 0.4), Usage(3, None, 1), (3 * 0.05 + 0.4) / M),
        (Prices(), Usage(1, 1, 1, 1), None),
        (Prices(1.0, None), Usage(1, None, 1), None),
        (Prices(None, 1.0), Usage(0, None, 1), None),
        (Prices(1.0, 1.0), Usage(None, None, 1), None),
        (Prices(1.0, 1.0), Usage(1, None, None), None),
    ],
)
def test_price_counts_cached_tokens_apart_and_keeps_unknown_unknown(prices: Prices, usage: Usage, usd: float | None) -> None:
    assert price(prices, usage) == (None if usd is None else pytest.approx(usd))


def test_prices_is_known_where_both_ways_have_a_price() -> None:
    assert Prices(0.0, 0.0).is_known
    assert not Prices(1.0, None, 1.0).is_known
    assert not Prices(None, 1.0).is_known


def test_prices_of_scales_what_is_set() -> None:
    set_all = {"prompt_usd_per_million": 2.0, "completion_usd_per_million": 8.0, "cached_prompt_usd_per_million": 1.0}
    assert prices_of(TeacherConfig.model_validate(set_all)) == Prices(2.0, 8.0, 1.0)
    assert prices_of(TeacherConfig.model_validate(set_all), factor=0.5) == Prices(1.0, 4.0, 0.5)
    assert prices_of(TeacherConfig(prompt_usd_per_million=2.0), factor=0.5) == Prices(1.0, None, None)


def test_most_usd_is_a_byte_a_token_and_the_whole_limit() -> None:
    assert most_usd(Prices(1.0, 10.0), M - 32, 2, 100_000) == pytest.approx(2.0)
    assert most_usd(Prices(1.0, 10.0, 0.1), M - 32, 2, 100_000) == pytest.approx(2.0)
    assert most_usd(Prices(1.0, None), 10, 2, 10) is None
    assert most_usd(Prices(0.0, 0.0), 10, 2, 10) == 0.0


def test_budget_without_a_cap_only_counts() -> None:
    async def run() -> Budget:
        budget = Budget(None, 5.0)
        assert await budget.reserve(1e9)
        budget.settle(1e9, 2.0)
        return budget

    assert asyncio.run(run()).spent_usd == 7.0


def test_budget_lets_the_last_cent_be_spent() -> None:
    async def run() -> None:
        budget = Budget(1.0, 0.5)
        assert await budget.reserve(0.5)
        budget.settle(0.5, 0.5)
        assert not await budget.reserve(0.25)
        assert await budget.reserve(0.0)

    asyncio.run(run())


def test_budget_refuses_at_once_what_never_fits() -> None:
    async def run() -> None:
        budget = Budget(1.0, 0.0)
        assert not await budget.reserve(1.5)
        assert await budget.reserve(1.0)
        budget.settle(1.0, 0.0)

    asyncio.run(run())


def test_budget_waits_for_what_is_in_flight() -> None:
    async def run() -> None:
        budget = Budget(1.0, 0.0)
        assert await budget.reserve(0.5)
        assert await budget.reserve(0.5)
        fits, never_fits = asyncio.ensure_future(budget.reserve(0.75)), asyncio.ensure_future(budget.reserve(0.875))
        await asyncio.sleep(0.01)
        assert not fits.done()
        budget.settle(0.5, 0.125)
        await asyncio.sleep(0.01)
        assert not fits.done(), "0.125 are spent and 0.5 in flight: 0.75 more might pass the cap"
        budget.settle(0.5, 0.125)
        assert await asyncio.wait_for(fits, 1)
        budget.settle(0.75, 0.125)
        assert not await asyncio.wait_for(never_fits, 1)
        assert budget.spent_usd == 0.375

    asyncio.run(run())


def test_budget_forgets_one_who_no_longer_waits() -> None:
    async def run() -> None:
        budget = Budget(1.0, 0.0)
        assert await budget.reserve(1.0)
        gone = asyncio.ensure_future(budget.reserve(0.5))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        budget.settle(1.0, 0.0)
        assert await budget.reserve(1.0)

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(5))
def test_budget_is_never_passed_and_stops_only_when_the_next_does_not_fit(seed: int) -> None:
    draw = random.Random(seed)
    cap, before = 10.0, 1.0
    reserved: list[float] = []
    refused: list[float] = []

    async def request(budget: Budget) -> None:
        most = draw.uniform(0.01, 0.4)
        if not await budget.reserve(most):
            assert not reserved, "refused while others were in flight"
            assert budget.spent_usd + most > cap
            refused.append(most)
            return
        reserved.append(most)
        assert budget.spent_usd + sum(reserved) <= cap + 1e-9
        for _ in range(draw.randrange(5)):
            await asyncio.sleep(0)
        reserved.remove(most)
        budget.settle(most, draw.choice([0.0, most, draw.uniform(0, most)]))

    async def run() -> float:
        budget = Budget(cap, before)
        await asyncio.gather(*(request(budget) for _ in range(400)))
        return budget.spent_usd

    spent = asyncio.run(run())
    assert cap - max(refused) <= spent <= cap
