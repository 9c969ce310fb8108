import io
import logging
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console

from tasks.traces import progress as module
from tasks.traces.answers import Answer
from tasks.traces.progress import AskingProgress, Tally


def _answer(cost_usd: float | None = 0.25, error_kind: str | None = None, tokens: int | None = 500) -> Answer:
    return Answer(
        request_hash="k",
        messages_hash="m",
        teacher="model",
        endpoint="e",
        prompt_kind="open",
        sample_index=0,
        asked_at=datetime.now(UTC),
        attempt_count=1,
        prompt_tokens=tokens,
        completion_tokens=tokens,
        cost_usd=cost_usd,
        error_kind=error_kind,
    )


def test_tally_sums_answers() -> None:
    tally = Tally(total=10)
    tally.add([_answer(), _answer(tokens=None), _answer(None, "timeout", None)])
    tally.add([])
    assert (tally.done, tally.failed, tally.tokens, tally.cost_usd) == (3, 1, 1000, 0.5)


def test_tally_describes_rate_tokens_cost_and_failures() -> None:
    tally = Tally(total=10, started=time.monotonic() - 2)
    tally.add([_answer()] * 3 + [_answer(None, "timeout")])
    tally.in_flight = 7
    assert tally.describe() == "2.0/s, 7 in flight, 4,000 tokens, 0.75 USD, 1 failed"


def test_tally_keeps_an_unknown_cost_unknown_and_names_what_was_spent_before() -> None:
    tally = Tally(total=10, spent_before_usd=1.5)
    tally.add([_answer(None)])
    assert "cost unknown" in tally.describe()
    assert "0.00" not in tally.describe()
    tally.add([_answer(0.0)])
    assert "0.00 USD (+ 1.50 before)" in tally.describe()


def test_tally_tells_the_time_left_of_what_is_not_skipped() -> None:
    tally = Tally(total=100, started=time.monotonic() - 10)
    assert tally.seconds_left() == float("inf")
    tally.skipped = 50
    tally.add([_answer()] * 10)
    assert tally.seconds_left() == pytest.approx(40, rel=0.05)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Standard error as a file that is no terminal."""
    file = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda stderr: Console(file=file))
    return file


def test_asking_progress_logs_a_line_every_few_seconds(written: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with AskingProgress(10, 1.0, every_s=0.05) as progress:
        progress.skip(4)
        progress.add([_answer()], in_flight=3)
        assert caplog.messages == []
        time.sleep(0.06)
        progress.add([_answer()], in_flight=3)
        progress.add([_answer()], in_flight=3)
    [line] = caplog.messages
    assert line.startswith("traces: 6 of 10, ")
    assert "3 in flight, 2,000 tokens, 0.50 USD (+ 1.00 before), 0 failed" in line
    assert written.getvalue() == ""


def test_asking_progress_shows_a_live_line_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda stderr: Console(file=file, force_terminal=True, width=160))
    caplog.set_level(logging.INFO)
    with AskingProgress(10, every_s=0.0) as progress:
        progress.skip(4)
        progress.add([_answer()], in_flight=3)
    assert "5/10" in file.getvalue()
    assert "3 in flight, 1,000 tokens, 0.25 USD, 0 failed" in file.getvalue()
    assert caplog.messages == []
