import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.errors import FatalTeacherError, StorageError
from tasks.traces.asking import ask_all
from tasks.traces.endpoints import Endpoint
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import Answer, TraceRequest, make_request

ENDPOINT = Endpoint("http://host/v1", "model", "open", 0.0, 100)
REQUESTS = [make_request(ENDPOINT, str(i), "train", open_prompt(f"text {i}", 2, ["a"])) for i in range(20)]


class FakeTeacher:
    """Answers after a moment; fails fatally at one document; counts how many are in flight."""

    def __init__(self, fatal_at: str | None = None) -> None:
        self._fatal_at = fatal_at
        self.asked: list[str] = []
        self.in_flight = self.most_in_flight = 0

    async def ask(self, request: TraceRequest) -> Answer:
        self.asked.append(request.document_id)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if request.document_id == self._fatal_at:
            raise FatalTeacherError("gone")
        await asyncio.sleep(0.01)
        self.in_flight -= 1
        return Answer(
            request_hash=request.request_hash,
            messages_hash="m",
            teacher="model",
            endpoint="e",
            prompt_kind="open",
            sample_index=0,
            asked_at=datetime.now(UTC),
            attempt_count=1,
            completion_text="x",
        )


def _run(teacher: FakeTeacher, concurrency: int, kept: list[Answer], fail: bool = False) -> None:
    def keep(answers: Sequence[Answer]) -> None:
        if fail:
            raise StorageError("disk full")
        kept.extend(answers)

    client: Any = teacher
    asyncio.run(ask_all(client, REQUESTS, concurrency, keep))


@pytest.mark.parametrize("concurrency", [1, 7, 100])
def test_ask_all_keeps_every_answer_once_within_the_concurrency(concurrency: int) -> None:
    teacher, kept = FakeTeacher(), list[Answer]()
    _run(teacher, concurrency, kept)
    assert sorted(answer.request_hash for answer in kept) == sorted(request.request_hash for request in REQUESTS)
    assert teacher.most_in_flight == min(concurrency, len(REQUESTS))


def test_ask_all_of_nothing_ends() -> None:
    asyncio.run(ask_all(FakeTeacher(), [], 4, lambda answers: None))  # type: ignore[arg-type]


def test_ask_all_stops_at_a_fatal_error_and_keeps_what_was_on_its_way() -> None:
    teacher, kept = FakeTeacher(fatal_at="6"), list[Answer]()
    with pytest.raises(FatalTeacherError, match="gone"):
        _run(teacher, 4, kept)
    assert len(teacher.asked) < len(REQUESTS)
    assert {answer.request_hash for answer in kept} == {r.request_hash for r in REQUESTS if r.document_id in teacher.asked} - {
        REQUESTS[6].request_hash
    }


def test_ask_all_asks_no_more_when_answers_cannot_be_kept() -> None:
    teacher = FakeTeacher()
    with pytest.raises(StorageError, match="disk full"):
        _run(teacher, 1, [], fail=True)
    assert len(teacher.asked) < len(REQUESTS)
