"""Progress of asking: done, rate, tokens, money and time left, on one line every few seconds."""

import logging
import time

from tasks.traces.requests import Answer

logger = logging.getLogger(__name__)

EVERY_S = 5.0


class TraceProgress:
    """Counts answers that are on disk."""

    def __init__(self, total_count: int) -> None:
        """Start the clock."""
        self._total = total_count
        self._started = self._last = time.monotonic()
        self.done_count = self.error_count = 0
        self.prompt_tokens = self.completion_tokens = 0
        self.cost_usd: float | None = 0.0

    def count(self, answer: Answer) -> None:
        """Count one answer; says how it stands at most every few seconds, and at the end."""
        self.done_count += 1
        self.error_count += answer.error_kind is not None
        self.prompt_tokens += answer.prompt_tokens or 0
        self.completion_tokens += answer.completion_tokens or 0
        is_unknown = answer.error_kind is None and answer.cost_usd is None
        self.cost_usd = None if self.cost_usd is None or is_unknown else self.cost_usd + (answer.cost_usd or 0.0)
        now = time.monotonic()
        if self.done_count == self._total or now - self._last >= EVERY_S:
            self._last = now
            logger.info("trace: %s", self.line(now))

    def line(self, now: float) -> str:
        """How it stands, in words."""
        rate = self.done_count / max(now - self._started, 1e-9)
        left = (self._total - self.done_count) / max(rate, 1e-9)
        money = "cost unknown" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        return (
            f"{self.done_count} of {self._total} asked, {self.error_count} failed, {rate:.0f} a second, "
            f"{self.prompt_tokens} tokens in, {self.completion_tokens} out, {money}, {left:.0f} s left"
        )
