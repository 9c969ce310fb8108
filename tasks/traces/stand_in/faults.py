"""The stand-in's faults: which one a request meets, and how a connection is broken as a crash would break it."""

import random
from typing import Any

from starlette.types import Receive

from schemas.config import FAULTS, FaultRates

PASSING = frozenset(
    {
        "rate_limited", "rate_limited_bare", "server_error", "unavailable", "dropped", "hung", "broken_json",
        "wrong_content_type", "empty_choices", "duplicate", "slow_ms", "hang_s",
    }
)  # fmt: skip
"""Faults that delay an answer and do not change what is kept of it in the end."""


def meet_fault(faults: FaultRates, seed: int, key: str, attempt: int, number: int) -> str | None:
    """The fault of the `number`-th request (from 0), which is the `attempt`-th at this question; null: none."""
    if number < len(faults.schedule):
        scheduled = faults.schedule[number]
        return None if scheduled == "ok" else scheduled
    return draw_fault(faults, seed, key, attempt)


def draw_fault(faults: FaultRates, seed: int, key: str, attempt: int) -> str | None:
    """A fault by rate; a retry draws again."""
    drawn = random.Random(f"{seed}:{key}:{attempt}").random()
    for name in FAULTS:
        drawn -= getattr(faults, name)
        if drawn < 0:
            return name
    return None


def lasting(faults: FaultRates) -> dict[str, Any]:  # settings of many types
    """The settings of faults that change what is kept."""
    rates = faults.model_dump(exclude={*PASSING, "schedule"})
    scheduled = [name for name in faults.schedule if name not in PASSING and name != "ok"]
    return rates | ({"schedule": scheduled} if scheduled else {})


async def drop_connection(receive: Receive) -> None:
    """Close the connection under the server, without another byte.

    Raises:
        RuntimeError: the server is not uvicorn, whose request object knows its transport.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("a connection can be dropped under uvicorn only")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
