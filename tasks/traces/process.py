"""A server as a child process, its end tied to ours; and what the system must allow this process."""

import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from schemas.errors import ConfigError, FatalTeacherError

START_TIMEOUT_S = 300.0
END_TIMEOUT_S = 5.0
OTHER_FILES = 64
"""Files that are open besides connections, at most."""

ADDRESS = "serving "
"""What stands before the address in the first line the server writes."""


def allow_connections(count: int) -> None:
    """Raise this process's own limit of open files, where there is one, so that so many connections can be open.

    Raises:
        ConfigError: the system does not allow as many; else they would fail one by one and look like a dead server.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"teacher.concurrency = {count} needs {needed} open files, and the system allows {hard} (ulimit -Hn); lower it to "
            f"{max(1, hard - OTHER_FILES)}, or raise the limit"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@dataclass(frozen=True)
class RunningServer:
    """A child process that serves at `address`."""

    address: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_server(command: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]) -> Iterator[RunningServer]:
    """Start a server and end it with the block; when we are killed, its standard input ends and it goes too.

    Raises:
        FatalTeacherError: it did not start; `stderr` holds its last words.
    """
    # a session of its own: an interrupt from the terminal must not end it while answers are on their way
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment, start_new_session=True
    )
    try:
        yield RunningServer(_wait_until_healthy(process), process)
    finally:
        _end(process)


def _wait_until_healthy(process: subprocess.Popen[bytes]) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        address = _read_address(process)
        direct.open(f"{address}/health", timeout=START_TIMEOUT_S).close()
    except (OSError, ValueError) as exc:
        raise FatalTeacherError(f"the stand-in teacher did not start: {exc}") from exc
    return address


def _read_address(process: subprocess.Popen[bytes]) -> str:
    timer = threading.Timer(START_TIMEOUT_S, process.kill)
    timer.start()
    line = process.stdout.readline().decode() if process.stdout else ""
    timer.cancel()
    if not line.startswith(ADDRESS):
        raise ValueError(f"it said {line!r} and ended with code {process.wait()}")
    return line.removeprefix(ADDRESS).strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
