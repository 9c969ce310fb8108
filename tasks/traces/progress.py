"""How asking goes: a live line on a terminal, a log line every few seconds elsewhere."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tasks.traces.answers import Answer
from tasks.traces.ledger import Ledger
from tasks.traces.limits import Pacer
from tasks.traces.requests import TraceRequest

logger = logging.getLogger(__name__)

EVERY_S = 10.0


@dataclass
class Tally:
    """Sums over the answers of this run, beside what earlier runs spent; the cost is null where the price is unknown."""

    total: int
    spent_before_usd: float | None = None
    done: int = 0
    skipped: int = 0
    failed: int = 0
    tokens: int = 0
    cost_usd: float | None = None
    in_flight: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, answers: Sequence[Answer]) -> None:
        """Count answers that are kept."""
        self.done += len(answers)
        self.failed += sum(answer.error_kind is not None for answer in answers)
        self.tokens += sum((answer.prompt_tokens or 0) + (answer.completion_tokens or 0) for answer in answers)
        costs = [answer.cost_usd for answer in answers if answer.cost_usd is not None]
        if costs:
            self.cost_usd = (self.cost_usd or 0.0) + sum(costs)

    def describe(self) -> str:
        """Rate, tokens, cost and failures in words."""
        rate = self.done / max(time.monotonic() - self.started, 1e-9)
        return f"{rate:.1f}/s, {self.in_flight} in flight, {self.tokens:,} tokens, {self._cost()}, {self.failed} failed"

    def _cost(self) -> str:
        if self.cost_usd is None:
            return "cost unknown"
        before = f" (+ {self.spent_before_usd:.2f} before)" if self.spent_before_usd else ""
        return f"{self.cost_usd:.2f} USD{before}"

    def seconds_left(self) -> float:
        """Time left at the rate so far."""
        elapsed = time.monotonic() - self.started
        return elapsed / self.done * (self.total - self.skipped - self.done) if self.done else float("inf")


class AskingProgress:
    """Shows the tally; where standard error is not a terminal, one log line every few seconds."""

    def __init__(self, total: int, spent_before_usd: float | None = None, every_s: float = EVERY_S) -> None:
        """Begin to count towards `total` requests, some of which may be answered already."""
        self.tally = Tally(total, spent_before_usd)
        self._every_s = every_s
        self._logged = time.monotonic()
        console = Console(stderr=True)
        columns = (
            TextColumn("traces"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self._live = Progress(*columns, console=console) if console.is_terminal else None
        self._line = self._live.add_task("", total=total) if self._live else None

    def __enter__(self) -> "AskingProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def add(self, answers: Sequence[Answer], in_flight: int = 0) -> None:
        """Count answers that are kept, and show."""
        self.tally.add(answers)
        self.tally.in_flight = in_flight
        if self._live and self._line is not None:
            completed = self.tally.done + self.tally.skipped
            self._live.update(self._line, completed=completed, description=self.tally.describe())
        elif time.monotonic() - self._logged >= self._every_s:
            self._logged = time.monotonic()
            left, done = self.tally.seconds_left(), self.tally.done + self.tally.skipped
            logger.info("traces: %d of %d, %s, %.0f s left", done, self.tally.total, self.tally.describe(), left)

    def skip(self, count: int) -> None:
        """Count requests that need not be sent: answered before, or the same as another."""
        self.tally.skipped += count


class Shown:
    """The ledger, with what it counts shown."""

    def __init__(self, ledger: Ledger, progress: AskingProgress, pacer: Pacer) -> None:
        """Show on `progress`."""
        self._ledger, self._progress, self._pacer = ledger, progress, pacer

    def keep(self, answers: Sequence[Answer]) -> None:
        """Store answers."""
        self._ledger.keep(answers)

    def flush(self) -> None:
        """Count what is on disk, and show it."""
        self._progress.add(self._ledger.flush(), self._pacer.slots.in_flight)


def counted(missing: Iterator[tuple[list[TraceRequest], int]], progress: AskingProgress) -> Iterator[list[TraceRequest]]:
    """The chunks of what is to be sent; what is not is told to the progress."""
    for wanted, skipped in missing:
        progress.skip(skipped)
        yield wanted
