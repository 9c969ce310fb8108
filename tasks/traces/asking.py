"""Many requests at once: so many in flight, each answer kept before it counts, and nothing paid for is thrown away."""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from schemas.errors import FatalTeacherError
from tasks.traces.client import Teacher
from tasks.traces.requests import Answer, TraceRequest

COMMIT_S = 0.05
"""Answers that arrive within so long are kept together: one flush to disk."""

GRACE_S = 10.0
"""After a fatal error, answers already on their way get so long to arrive."""

Keep = Callable[[Sequence[Answer]], None]


async def ask_all(teacher: Teacher, requests: Sequence[TraceRequest], concurrency: int, keep: Keep) -> None:
    """Ask every request and hand each answer to `keep`, in batches, in the order they arrive.

    Raises:
        FatalTeacherError: no request can succeed; what had arrived is kept.
        StorageError: an answer could not be kept; no more is asked.
    """
    arrived: asyncio.Queue[Answer | None] = asyncio.Queue()
    waiting = iter(requests)
    keeper = asyncio.create_task(_keep_arriving(arrived, keep))
    workers = [asyncio.create_task(_work(teacher, waiting, arrived)) for _ in range(min(concurrency, len(requests)))]
    try:
        await _until_done(workers, keeper, waiting)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        arrived.put_nowait(None)
        await keeper


async def _work(teacher: Teacher, waiting: Iterator[TraceRequest], arrived: asyncio.Queue[Answer | None]) -> None:
    for request in waiting:
        arrived.put_nowait(await teacher.ask(request))


async def _until_done(workers: Sequence[asyncio.Task[None]], keeper: asyncio.Task[None], waiting: Iterator[TraceRequest]) -> None:
    pending = {*workers, keeper}
    while pending - {keeper}:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            error = task.exception()
            if isinstance(error, FatalTeacherError):
                for _ in waiting:  # nobody takes another request
                    pass
                await asyncio.wait(pending - {keeper} or {task}, timeout=GRACE_S)
            if error is not None:
                raise error


async def _keep_arriving(arrived: asyncio.Queue[Answer | None], keep: Keep) -> None:
    is_open = True
    while is_open:
        batch = [await arrived.get()]
        if batch[0] is not None:
            await asyncio.sleep(COMMIT_S)
        while not arrived.empty():
            batch.append(arrived.get_nowait())
        answers = [answer for answer in batch if answer is not None]
        is_open = len(answers) == len(batch)
        if answers:
            await asyncio.to_thread(keep, answers)
