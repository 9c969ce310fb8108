"""Work side by side, a thread a core, with results that do not depend on the cores."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def one_thread_each(is_side_by_side: bool = True) -> Iterator[ThreadPoolExecutor]:
    """A pool with a thread a core and torch single-threaded in each; or one thread that has all of torch's."""
    count = torch.get_num_threads()
    size, each = (count, 1) if is_side_by_side else (1, count)
    pool = ThreadPoolExecutor(size, initializer=torch.set_num_threads, initargs=(each,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(count)
