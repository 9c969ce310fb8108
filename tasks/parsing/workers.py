"""Processes that read raw traces side by side; what they give comes in order, and a bounded number of parts is under way."""

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import polars as pl

from schemas.errors import WorkerLostError
from tasks.parsing.names import Catalogue
from tasks.parsing.rows import ReadPart, read_part

AHEAD = 2
"""Parts under way a process: one that it reads and one that waits for it."""

LEAST_ROWS = 4096
"""Answers that are worth a process: it takes one or two seconds to start, and reads a thousand answers a second."""

_own: dict[str, Catalogue] = {}  # what a process of the pool was started with; empty in the process that starts them


def fitting_processes(row_count: int, core_count: int) -> int:
    """One process a core, but none with few answers to read."""
    return max(1, min(core_count, row_count // LEAST_ROWS))


def read_parts(raws: Iterable[pl.DataFrame], catalogue: Catalogue, process_count: int) -> Generator[ReadPart]:
    """Every part as read, in order.

    Raises:
        WorkerLostError: a process was ended from outside.
    """
    if process_count == 1:
        yield from (_read_part(raw, catalogue) for raw in raws)
        return
    # Fresh interpreters: a fork of a process with the threads of torch or polars may hang.
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(process_count, fresh, _start, (catalogue,))
    try:
        yield from _in_order(pool, raws, AHEAD * process_count)
    except BrokenProcessPool as exc:
        raise WorkerLostError(
            f"parse: one of {process_count} reading processes was ended from outside (a signal, or memory ran out); nothing was "
            "published; run it again, with a smaller parse.process_count if memory is short"
        ) from exc
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, raws: Iterable[pl.DataFrame], most: int) -> Iterator[ReadPart]:
    under_way: deque[Future[ReadPart]] = deque()
    for raw in raws:
        under_way.append(pool.submit(_read, raw))
        if len(under_way) == most:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _start(catalogue: Catalogue) -> None:
    """Prepare a process: Ctrl-C is for the process that started it, and it does not outlive that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _own["catalogue"] = catalogue
    gc.freeze()  # a million objects of the label names need not be looked through again and again


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read(raw: pl.DataFrame) -> ReadPart:
    return _read_part(raw, _own["catalogue"])


def _read_part(raw: pl.DataFrame, catalogue: Catalogue) -> ReadPart:
    """`read_part` while the garbage collector rests.

    The thousands of rows and drafts of a part hold no cycles, and looking for some took 5 to 10% of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return read_part(raw, catalogue)
    finally:
        if was_on:
            gc.enable()
