"""Journal records for tests, and children that run a piece of work until they are killed."""

import hashlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from warehouse.journal import open_journal

KILLED = 9
HUNG_S = 30


def key(name: object) -> str:
    """A request key as real ones are: SHA-256 in hex."""
    return hashlib.sha256(str(name).encode()).hexdigest()


def record(name: object, **values: Any) -> dict[str, Any]:  # columns of many types
    """A whole record of the journal."""
    return {
        "request_hash": key(name),
        "messages_hash": key(("messages", name)),
        "teacher": "tiny",
        "endpoint": "http://localhost/v1",
        "prompt_kind": "open",
        "variant": "phase-1",
        "asked_form": "tagged",
        "sample_index": 1,
        "asked_at": "2026-11-01T10:00:00.000120Z",
        "attempt_count": 1,
        "completion_text": f'answer {name} ü\u2028\n"quoted"',
        "reasoning_text": None,
        "finish_reason": "stop",
        "prompt_tokens": 11,
        "cost_usd": 0.25,
        "at_risk_usd": 0,
        "latency_ms": None,
    } | values


def line(name: object, **values: Any) -> str:  # as above
    """The record as a line of the journal."""
    return json.dumps(record(name, **values), ensure_ascii=False)


def stored(path: Path) -> list[tuple[str, str | None]]:
    """Key and text of every record that a fresh opening of the journal finds, oldest first."""
    with open_journal(path) as journal:
        return [(entry["request_hash"], entry.get("completion_text")) for entry in journal.entries()]


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file can grow beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def in_child(work: Callable[[], object]) -> int:
    """Run work in a forked child; its process id. A child that hangs is ended by an alarm."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(HUNG_S)
    try:
        work()
    except BaseException:
        os._exit(1)
    os._exit(0)


def ended(pid: int) -> int:
    """How a child ended: its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(step: int, files: tuple[str, ...], work: Callable[[], object]) -> bool:
    """Run work in a child that dies before the given line of these files it comes to; False if it ended before that."""

    def run() -> None:
        left = step

        def trace(frame: FrameType, event: str, argument: object) -> Any:  # a trace function, or none
            nonlocal left
            if not frame.f_code.co_filename.endswith(files):
                return None
            if event == "line":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        work()

    code = ended(in_child(run))
    assert code in (0, -KILLED)
    return code == -KILLED


def killed_after(seconds: float, work: Callable[[], object]) -> None:
    """Run work in a child and kill it after so many seconds."""
    pid = in_child(work)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    assert ended(pid) in (0, -KILLED)
