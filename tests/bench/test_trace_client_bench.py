"""512 requests in flight at 1 s latency: our client beside a bare asyncio loop, against the stand-in, in one run.

Client and server each have one core of their own. `CTD_BENCH_REQUESTS` sets the number of requests (default 100,000: 7 minutes).
Results go to `tests/bench/results/trace_client.json`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.traces.process import running_server

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "trace_client.json"
REQUESTS = int(os.environ.get("CTD_BENCH_REQUESTS", "100000"))
CONCURRENCY, LATENCY_S = 512, 1.0

SERVER = """
import os, socket, sys, uvicorn
os.sched_setaffinity(0, {1})
from schemas.config import FaultRates
from tasks.traces.stand_in.server import Manner, StandInServer
from tasks.traces.stand_in.serving import stand_in_app
from tests.unit.traces.stand_in.tiny_stand_in import NAMES, tiny_stand_in
thinker = tiny_stand_in({})
server = StandInServer(thinker.think, {}, Manner("stand-in", "json", 0, FaultRates(slow_ms=%f)))
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(4096)
print("serving http://127.0.0.1:%%d" %% listener.getsockname()[1], flush=True)
config = uvicorn.Config(stand_in_app(server), log_level="warning", access_log=False, timeout_keep_alive=75, backlog=4096)
uvicorn.Server(config).run(sockets=[listener])
""" % (LATENCY_S * 1000)


@pytest.fixture
def address() -> Iterator[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with running_server([sys.executable, "-c", SERVER], environment, sys.stderr.buffer) as server:
        yield server.address


def measure(kind: str, address: str, folder: Path) -> dict[str, float]:
    command = ["taskset", "-c", "0", sys.executable, "-m", "tests.bench.trace_client"]
    arguments = [kind, address, str(REQUESTS), str(CONCURRENCY), str(folder)]
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures | {"share_of_possible": figures["per_s"] / (CONCURRENCY / LATENCY_S)}


@pytest.mark.bench
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2, reason="needs two cores to tell apart")
def test_trace_client_throughput_and_memory(address: str, tmp_path: Path) -> None:
    measured = {kind: measure(kind, address, tmp_path) for kind in ("bare", "ours")}
    result = {"requests": REQUESTS, "in_flight": CONCURRENCY, "latency_s": LATENCY_S} | measured
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    for kind, figures in measured.items():
        sys.stdout.write(
            f"\n{kind}: {figures['per_s']:.0f}/s, {figures['share_of_possible']:.3f} of possible, {figures['cores']:.2f} cores, "
            f"RSS {figures['rss_mb_at_10_percent']:.0f} -> {figures['rss_mb_at_end']:.0f} MB\n"
        )
    assert measured["ours"]["answered"] == REQUESTS
