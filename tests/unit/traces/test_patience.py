import asyncio
from typing import Any

import pytest

from schemas.config import TeacherConfig
from tasks.traces.limits import FIRST_SLOTS
from tasks.traces.patience import STREAMED_FROM_TOKENS, ask_rules, pacer_of, patience_of


def _teacher(**settings: Any) -> TeacherConfig:  # each setting has its own type
    return TeacherConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("stream", "max_completion_tokens", "is_streaming"),
    [
        ("on", 16, True),
        ("off", 100_000, False),
        ("auto", STREAMED_FROM_TOKENS, False),
        ("auto", STREAMED_FROM_TOKENS + 1, True),
    ],
)
def test_patience_of_streams_what_may_be_long(stream: str, max_completion_tokens: int, is_streaming: bool) -> None:
    assert patience_of(_teacher(stream=stream, max_completion_tokens=max_completion_tokens)).is_streaming is is_streaming


def test_patience_of_takes_deadlines_or_none() -> None:
    patience = patience_of(_teacher(timeout_s=5.0, idle_timeout_s=None))
    assert (patience.timeout_s, patience.idle_timeout_s) == (5.0, None)
    assert patience_of(_teacher(timeout_s=None)).timeout_s is None


def test_ask_rules_come_from_the_settings() -> None:
    rules = ask_rules(_teacher(max_attempts=9, max_cut_attempts=4, retry_pause_s=0.25, max_error_frac=0.1, concurrency=50))
    assert (rules.max_attempts, rules.max_cut_attempts, rules.first_pause_s, rules.max_error_frac) == (9, 4, 0.25, 0.1)
    assert rules.connection_failure_limit == 150
    assert ask_rules(_teacher(concurrency=1)).connection_failure_limit == 10


def test_pacer_of_begins_within_the_concurrency() -> None:
    assert pacer_of(_teacher(concurrency=5)).slots.limit == 5
    slots = pacer_of(_teacher(concurrency=500)).slots
    assert (slots.limit, slots.most) == (FIRST_SLOTS, 500)


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_pacer_of_keeps_each_rate_that_is_set(name: str) -> None:
    async def is_held_back(**settings: float) -> bool:
        pacer = pacer_of(_teacher(**settings))
        await pacer.enter(1)
        try:
            await asyncio.wait_for(pacer.enter(1), 0.02)
        except TimeoutError:
            return True
        return False

    assert asyncio.run(is_held_back(**{name: 1.0}))
    assert not asyncio.run(is_held_back(**{name: 60_000.0}))
    assert not asyncio.run(is_held_back())
