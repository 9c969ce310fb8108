"""Fifty kills at random moments, then a resume: no answer that was on disk is lost or asked again, by the server's own count."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from tasks.traces.endpoints import canonical_hash
from tests.contract.test_imports import ROOT
from tests.support.puppet import answer, puppet
from warehouse.journal import open_journal

KILLS, REQUESTS, CONCURRENCY, DELAY_S = 50, 5000, 16, 0.04
LONGEST_RUN_S = 0.2
"""All runs together cannot answer everything: 50 x 0.2 s x 16 / 0.04 s = 4,000."""

ZYGOTE = """
import asyncio, os, sys
from pathlib import Path
from schemas.refs import RetryRules
from tasks.traces.asking import RequestStream, ask_all
from tasks.traces.client import AskRules, Teacher
from tasks.traces.endpoints import Endpoint
from tasks.traces.ledger import Ledger
from tasks.traces.limits import Pacer, Slots
from tasks.traces.money import Budget, Prices
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import make_request
from tasks.traces.transport import Patience, Transport, open_client
from warehouse.journal import open_journal

url, path, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
endpoint = Endpoint("kills", "m", "open", 0.0, 64)

def chunks():
    for start in range(0, count, 100):
        yield [make_request(endpoint, str(i), "train", open_prompt(f"text {i}", 2, ["a"])) for i in range(start, start + 100)]

def ask_missing(concurrency):
    with open_journal(path) as journal:
        ledger = Ledger(journal, endpoint, RetryRules())
        async def ask():
            async with open_client(url, "none", concurrency) as client:
                transport = Transport(client, endpoint, Patience(30, None, False), [])
                rules, pacer = AskRules(3, 2, 0.1, 0.2, 100), Pacer(Slots(concurrency))
                teacher = Teacher(transport, endpoint, rules, pacer, Prices(), Budget(None, 0))
                missing = (wanted for wanted, _ in ledger.missing(chunks()))
                await ask_all(teacher, RequestStream(missing), concurrency, ledger)
        asyncio.run(ask())

for line in sys.stdin:  # one run a line: a fork each, so that imports are paid once
    child = os.fork()
    if not child:
        ask_missing(int(line))
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Server:
    """Counts how often each question was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def decide(self, body: dict[str, Any], _: dict[str, str]) -> Response:
        self.asked[canonical_hash(body["messages"])] += 1
        return answer("x" * 300)


def start(zygote: "subprocess.Popen[str]", concurrency: int = CONCURRENCY) -> int:
    assert zygote.stdin and zygote.stdout
    zygote.stdin.write(f"{concurrency}\n")
    zygote.stdin.flush()
    return int(zygote.stdout.readline())


def ended(zygote: "subprocess.Popen[str]") -> int:
    assert zygote.stdout
    return int(zygote.stdout.readline())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its runs by fork")
def test_fifty_kills_lose_no_answer_and_ask_none_twice(tmp_path: Path) -> None:
    server, draw, path = Server(), random.Random(0), tmp_path / "journal" / "kills.jsonl"
    stored: dict[str, int] = {}
    with puppet(server.decide, DELAY_S) as url:
        arguments = [url, str(path), str(REQUESTS)]
        zygote = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(KILLS):
            child = start(zygote)
            time.sleep(draw.uniform(0.02, LONGEST_RUN_S))
            os.kill(child, signal.SIGKILL)
            assert ended(zygote) == -signal.SIGKILL, "a run ended before it was killed: ask for more"
            time.sleep(0.02)  # what was on its way has been counted
            with open_journal(path) as journal:
                now = {str(record["messages_hash"]) for record in journal.entries()}
            assert stored.keys() <= now, "an answer was lost"
            stored |= {key: server.asked[key] for key in now - stored.keys()}
        before_resume = len(stored)
        start(zygote, 4 * CONCURRENCY)
        assert ended(zygote) == 0
        zygote.communicate()
    assert 100 < before_resume < REQUESTS
    assert {key: server.asked[key] for key in stored} == stored, "an answer that was on disk was asked again"
    with open_journal(path) as journal:
        assert len({str(record["request_hash"]) for record in journal.entries()}) == REQUESTS
    again = sum(server.asked.values()) - REQUESTS
    assert again <= KILLS * CONCURRENCY, "more was asked again than can have been on its way"
