"""A real Prefect server, worker and deployment: a flow runs under the pinned set, and a scheduled run appears."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.contract.test_imports import ROOT
from tests.support.runs import tiny_lf

WAIT_S = 150


@dataclass(frozen=True)
class Prefect:
    """A server of its own, the environment its clients need, and where its data goes."""

    api: str
    env: dict[str, str]
    home: Path

    def cli(self, *arguments: str) -> str:
        """Run the prefect command in the project folder."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name("prefect")), *arguments],
            cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def post(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Ask the API."""
        request = Request(self.api + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(what: str, ready: Callable[[], bool], wait_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + wait_s
    while not ready():
        assert time.monotonic() < deadline, f"waited {wait_s} s for {what}"
        time.sleep(0.5)


def is_healthy(api: str) -> bool:
    try:
        with urlopen(f"{api}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    env = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": api,
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "3",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    command = [
        str(Path(sys.executable).with_name("prefect")),
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for("the Prefect server", lambda: is_healthy(api))
            yield Prefect(api, env, home)
        finally:
            stop(server)


@pytest.fixture(scope="module")
def deployed(prefect: Prefect) -> Prefect:
    """The project's own prefect.yaml, deployed to a process work pool."""
    prefect.cli("work-pool", "create", "local", "--type", "process")
    prefect.cli("--no-prompt", "deploy", "--all")
    return prefect


def test_deploy_creates_a_deployment_a_flow_and_a_paused_nightly_schedule(deployed: Prefect) -> None:
    found = deployed.post("/deployments/filter", {})
    assert {str(d["name"]) for d in found} >= {"pipeline", "ingest", "trace", "report"}
    pipeline = next(d for d in found if d["name"] == "pipeline")
    assert [s["active"] for s in pipeline["schedules"]] == [False]
    assert deployed.post("/flow_runs/filter", {}) == []


def test_a_scheduled_run_appears_once_the_nightly_schedule_is_active(deployed: Prefect) -> None:
    listed = deployed.cli("deployment", "schedule", "ls", "pipeline/pipeline")
    schedule = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", listed)
    assert schedule, listed
    deployed.cli("deployment", "schedule", "resume", "pipeline/pipeline", schedule.group())
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    wait_for("a scheduled run", lambda: bool(deployed.post("/flow_runs/filter", scheduled)))
    deployed.cli("deployment", "schedule", "pause", "pipeline/pipeline", schedule.group())


def test_a_deployed_flow_runs_on_a_worker(deployed: Prefect, tmp_path: Path) -> None:
    folder, root = tiny_lf(tmp_path / "lf"), tmp_path / "root"
    command = [str(Path(sys.executable).with_name("prefect")), "worker", "start", "--pool", "local", "--limit", "1"]
    with (deployed.home / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=ROOT, env=deployed.env, stdout=log, stderr=subprocess.STDOUT)
        try:
            parameters = ("name=tiny", f"path={folder}", f"root={root}")
            options = [part for parameter in parameters for part in ("--param", parameter)]
            deployed.cli("deployment", "run", "ingest/ingest", *options, "--watch", "--watch-timeout", str(WAIT_S))
        finally:
            stop(worker)
    assert len(list(root.glob("runs/*/ingest/core_documents.parquet"))) == 1
    assert (root / "warehouse.duckdb").exists()
