"""Thoughts on questions that come one by one: thought about together, once each, and kept for those who ask again."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from tasks.traces.stand_in.thinking import Question, Thought

THINK_TOGETHER = 32
"""Questions that wait are thought about together: one matrix product for all."""

KEPT_THOUGHTS = 8192
Waiting = tuple[Question, "asyncio.Future[Thought]"]


class Thoughts:
    """What was thought, and what is being thought about; the thinking is done in a thread."""

    def __init__(self, think: Callable[[Sequence[Question]], list[Thought]]) -> None:
        """Think with `think`."""
        self._think = think
        self._known: OrderedDict[Question, Thought] = OrderedDict()
        self._asked: dict[Question, asyncio.Future[Thought]] = {}
        self._waiting: list[Waiting] = []
        self._thinking: asyncio.Task[None] | None = None

    async def on(self, question: Question) -> Thought:
        """The thought on a question; those who ask the same meanwhile wait for the same."""
        known = self._known.get(question)
        if known is not None:
            self._known.move_to_end(question)
            return known
        if question not in self._asked:
            self._asked[question] = asyncio.get_running_loop().create_future()
            self._waiting.append((question, self._asked[question]))
            if self._thinking is None or self._thinking.done():
                self._thinking = asyncio.create_task(self._think_on())
        return await asyncio.shield(self._asked[question])

    async def _think_on(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:THINK_TOGETHER], self._waiting[THINK_TOGETHER:]
            try:
                thoughts = await asyncio.to_thread(self._think, [question for question, _ in batch])
                for (question, answered), thought in zip(batch, thoughts, strict=True):
                    self._known[question] = thought
                    answered.set_result(thought)
            except Exception as exc:  # whatever it is, those who wait must hear of it
                for _, answered in batch:
                    if not answered.done():
                        answered.set_exception(exc)
            finally:
                for question, _ in batch:
                    del self._asked[question]
            while len(self._known) > KEPT_THOUGHTS:
                self._known.popitem(last=False)
