"""Progress of long work: rows, rate and time left, one log line every few seconds."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

EVERY_S = 5.0


def log_progress(what: str, every_s: float = EVERY_S) -> Callable[[int, int], None]:
    """A function (done, total) that logs at most every few seconds, and at the end."""
    started = time.monotonic()
    last = started

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < every_s:
            return
        last = now
        rate = done / max(now - started, 1e-9)
        left = (total - done) / rate if rate else float("inf")
        logger.info("%s: %d of %d (%.0f%%), %.0f a second, %.0f s left", what, done, total, 100 * done / total, rate, left)

    return report
