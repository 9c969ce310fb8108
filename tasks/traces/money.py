"""Tokens and money: what an answer cost, the most it may cost, and a cap that counts what is in flight."""

import asyncio
from dataclasses import dataclass

from schemas.config import TeacherConfig

MESSAGE_TOKENS = 16
"""Tokens a chat template adds to one message, at most (ChatML: 4 to 7)."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer as the server reports them; null: unknown."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def answer_tokens(self) -> int | None:
        """Tokens out that are no reasoning."""
        if self.completion_tokens is None or self.reasoning_tokens is None:
            return None
        return self.completion_tokens - self.reasoning_tokens

    @property
    def total_tokens(self) -> int | None:
        """Tokens in and out."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens; null: unknown. Cached tokens cost as others do where nothing else is said."""

    prompt_usd_per_million: float | None = None
    completion_usd_per_million: float | None = None
    cached_prompt_usd_per_million: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether an answer's cost can be told."""
        return self.prompt_usd_per_million is not None and self.completion_usd_per_million is not None


def prices_of(teacher: TeacherConfig, factor: float = 1.0) -> Prices:
    """The prices of these settings, each times `factor` (batch answers may be cheaper)."""

    def scaled(usd: float | None) -> float | None:
        return None if usd is None else usd * factor

    return Prices(
        scaled(teacher.prompt_usd_per_million),
        scaled(teacher.completion_usd_per_million),
        scaled(teacher.cached_prompt_usd_per_million),
    )


def price(prices: Prices, usage: Usage) -> float | None:
    """US dollars of one answer; null where a price or a token count is unknown."""
    prompt, completion = prices.prompt_usd_per_million, prices.completion_usd_per_million
    if prompt is None or completion is None or usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    cached = usage.cached_tokens or 0
    cached_price = prompt if prices.cached_prompt_usd_per_million is None else prices.cached_prompt_usd_per_million
    return ((usage.prompt_tokens - cached) * prompt + cached * cached_price + usage.completion_tokens * completion) / 1e6


def most_usd(prices: Prices, prompt_bytes: int, message_count: int, max_completion_tokens: int) -> float | None:
    """The most one attempt may cost: a token is a byte at least, and the answer takes its whole limit; null: unknown."""
    most_in = prompt_bytes + message_count * MESSAGE_TOKENS
    return price(prices, Usage(prompt_tokens=most_in, completion_tokens=max_completion_tokens))


class Budget:
    """Money that may still be spent: what is in flight counts at its most until its cost is known."""

    def __init__(self, max_usd: float | None, spent_usd: float) -> None:
        """Begin with what earlier runs spent; no cap if `max_usd` is null."""
        self.max_usd = max_usd
        self.spent_usd = spent_usd
        self._reserved_usd = 0.0
        self._reserved_count = 0
        self._freed = asyncio.Event()

    async def reserve(self, most: float) -> bool:
        """Set `most` aside once it fits; False if it cannot fit whatever comes back of what is in flight."""
        while self.max_usd is not None and self.spent_usd + self._reserved_usd + most > self.max_usd:
            if not self._reserved_count:
                return False
            self._freed.clear()
            await self._freed.wait()
        self._reserved_usd += most
        self._reserved_count += 1
        return True

    def settle(self, most: float, spent: float) -> None:
        """Release what was set aside and count what was spent."""
        self._reserved_count -= 1
        self._reserved_usd = self._reserved_usd - most if self._reserved_count else 0.0
        self.spent_usd += spent
        self._freed.set()
