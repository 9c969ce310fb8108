"""One contender of the trace client's benchmark, in a process of its own: `python -m tests.bench.trace_client KIND ADDRESS ...`.

`ours`: the whole path, requests made chunk by chunk, asked, journaled and flushed. `bare`: an asyncio loop over aiohttp that
posts the same bodies, decodes the answers and drops them: what the machine and the server allow.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
import uvloop

from schemas.refs import RetryRules
from tasks.traces.answers import Answer
from tasks.traces.asking import RequestStream, ask_all
from tasks.traces.client import AskRules, Teacher
from tasks.traces.endpoints import Endpoint
from tasks.traces.ledger import Ledger
from tasks.traces.limits import Pacer, Slots
from tasks.traces.money import Budget, Prices
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import TraceRequest, make_request, request_body
from tasks.traces.transport import Patience, Transport, open_client
from warehouse.journal import open_journal

ENDPOINT = Endpoint("bench", "stand-in", "open", 0.0, 4096, seed=0)
TEXTS = 60
CHUNK = 512
SAMPLED_EVERY_S = 1.0


def requests(count: int) -> Iterator[list[TraceRequest]]:
    """Requests with keys of their own: few texts, many seeds."""
    for start in range(0, count, CHUNK):
        yield [
            make_request(ENDPOINT, str(i), "train", open_prompt(text(i % TEXTS), 5000, ["a", "b"]), sample_index=i)
            for i in range(start, min(count, start + CHUNK))
        ]


def text(number: int) -> str:
    """A document of some 1.5 kB."""
    return f"document {number}\n" + "This small editor is fast, portable and made for daily work with a network server. " * 18


def resident_mb() -> float:
    """Resident memory now, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


class Meter:
    """Wall and CPU seconds, and resident memory at a tenth, the middle and the end of the answers."""

    def __init__(self, count: int) -> None:
        self._marks = {count // 10: "rss_mb_at_10_percent", count // 2: "rss_mb_at_half", count: "rss_mb_at_end"}
        self.done = 0
        self.figures: dict[str, float] = {}
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def add(self, count: int) -> None:
        for mark in [mark for mark in self._marks if self.done < mark <= self.done + count]:
            self.figures[self._marks[mark]] = resident_mb()
        self.done += count

    def result(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return self.figures | {"answered": self.done, "wall_s": wall, "per_s": self.done / wall, "cores": cpu / wall}


class Metered:
    """The ledger, with what it counts metered."""

    def __init__(self, ledger: Ledger, meter: Meter) -> None:
        self._ledger, self._meter = ledger, meter

    def keep(self, answers: Sequence[Answer]) -> None:
        self._ledger.keep(answers)

    def flush(self) -> None:
        self._meter.add(len(self._ledger.flush()))


async def ours(address: str, count: int, concurrency: int, folder: Path) -> dict[str, float]:
    meter = Meter(count)
    with open_journal(folder / "journal.jsonl") as journal:
        ledger = Ledger(journal, ENDPOINT, RetryRules())
        async with open_client(f"{address}/v1", "none", concurrency) as client:
            transport = Transport(client, ENDPOINT, Patience(60.0, None, is_streaming=False), [])
            rules = AskRules(5, 2, 0.5, 0.2, connection_failure_limit=3 * concurrency)
            teacher = Teacher(transport, ENDPOINT, rules, Pacer(Slots(concurrency)), Prices(1.0, 1.0), Budget(None, 0.0))
            missing = (wanted for wanted, _ in ledger.missing(requests(count)))
            await ask_all(teacher, RequestStream(missing), 2 * concurrency, Metered(ledger, meter))
    return meter.result()


async def bare(address: str, count: int, concurrency: int, folder: Path) -> dict[str, float]:
    meter = Meter(count)
    waiting = (request for chunk in requests(count) for request in chunk)
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for request in waiting:
                async with session.post(f"{address}/v1/chat/completions", json=request_body(ENDPOINT, request)) as response:
                    json.loads(await response.read())
                meter.add(1)

        await asyncio.gather(*(work() for _ in range(concurrency)))
    return meter.result()


if __name__ == "__main__":
    kind, where, requested, in_flight, place = sys.argv[1:]
    run = {"ours": ours, "bare": bare}[kind]
    sys.stdout.write(json.dumps(uvloop.run(run(where, int(requested), int(in_flight), Path(place)))))
