import asyncio
from collections.abc import Sequence

import pytest

from tasks.traces.stand_in import thoughts
from tasks.traces.stand_in.thinking import Candidate, Question, Thought
from tasks.traces.stand_in.thoughts import Thoughts


class Thinker:
    """Thinks of a text's length; cannot think of an empty one."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, questions: Sequence[Question]) -> list[Thought]:
        self.batches.append([question.text for question in questions])
        return [Thought((Candidate(1 // len(question.text) + len(question.text), "x", 1.0, True),)) for question in questions]


def _asked(kept: Thoughts, *texts: str) -> list[Thought | BaseException]:
    async def ask() -> list[Thought | BaseException]:
        return await asyncio.gather(*(kept.on(Question(text, None)) for text in texts), return_exceptions=True)

    return asyncio.run(ask())


def _number(thought: Thought | BaseException) -> int | None:
    assert isinstance(thought, Thought)
    return thought.candidates[0].label_id


def test_on_thinks_once_of_what_is_asked_often_and_together_of_what_waits() -> None:
    thinker = Thinker()
    kept = Thoughts(thinker)
    texts = [str(i % 50).zfill(5) for i in range(200)]
    assert {_number(thought) for thought in _asked(kept, *texts)} == {5}
    assert sorted(text for batch in thinker.batches for text in batch) == sorted(set(texts))
    assert len(thinker.batches) == 2
    _asked(kept, texts[0])
    assert len(thinker.batches) == 2


def test_on_gives_each_its_own_thought() -> None:
    assert [_number(thought) for thought in _asked(Thoughts(Thinker()), "aa", "bbbb", "aa", "ccc")] == [2, 4, 2, 3]


def test_on_tells_everyone_that_thinking_failed_and_thinks_again_when_asked_again() -> None:
    kept = Thoughts(Thinker())
    assert [type(thought) for thought in _asked(kept, "", "")] == [ZeroDivisionError] * 2
    assert isinstance(_asked(kept, "")[0], ZeroDivisionError)
    assert _number(_asked(kept, "aa")[0]) == 2


def test_on_forgets_what_was_asked_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thoughts, "KEPT_THOUGHTS", 2)
    thinker = Thinker()
    kept = Thoughts(thinker)
    for text in ("aa", "bbb", "aa", "cccc", "aa", "bbb"):
        _asked(kept, text)
    assert [batch[0] for batch in thinker.batches] == ["aa", "bbb", "cccc", "bbb"]
