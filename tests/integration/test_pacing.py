"""A server with limits of its own: the client finds how much it takes, and keeps to the rates it is told."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from schemas.config import EmbedConfig, TeacherConfig
from schemas.refs import RunRef, StageInputs
from tasks.datasets.task import ingest_dataset
from tasks.traces.task import generate_traces
from tests.support.puppet import answer
from tests.support.runs import tiny_run, write_lf
from tests.support.serving import serving
from warehouse.parquet import read_table

DOCUMENTS, CAPACITY, WORK_S = 300, 10, 0.02


class Busy:
    """Works on ten requests at a time and refuses the eleventh; remembers when each came."""

    def __init__(self) -> None:
        self.in_flight = self.refused = 0
        self.came_at: list[float] = []

    async def complete(self, _: Request) -> Response:
        self.came_at.append(time.monotonic())
        if self.in_flight >= CAPACITY:
            self.refused += 1
            return JSONResponse({"error": {"message": "too many", "code": "busy"}}, 429)
        self.in_flight += 1
        await asyncio.sleep(WORK_S)
        self.in_flight -= 1
        return answer("Answer:\nlabel")

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/chat/completions", self.complete, methods=["POST"])])


@pytest.fixture
def documents(tmp_path: Path) -> tuple[RunRef, StageInputs]:
    run = tiny_run(tmp_path / "root")
    rows: list[object] = [{"uid": f"d{i}", "title": f"document {i}", "target_ind": [0]} for i in range(DOCUMENTS)]
    lf = write_lf(tmp_path / "lf", rows, [{"uid": "t", "title": "test", "target_ind": [0]}], [{"uid": "l", "title": "label"}])
    tables = ingest_dataset.fn(run, run.config.ingest.model_copy(update={"path": str(lf)})).tables
    return run, StageInputs(tables={ref.table: ref for ref in tables}, artifacts={})


@pytest.fixture
def busy() -> Iterator[tuple[Busy, str]]:
    server = Busy()
    with serving(server.app()) as address:
        yield server, f"{address}/v1"


def ask(documents: tuple[RunRef, StageInputs], url: str, **settings: object) -> list[int]:
    """Attempts of each document; all are answered."""
    plain = {"base_url": url, "model": "m", "prompt_kind": "open", "answer_form": "free", "max_attempts": 30}
    teacher = TeacherConfig.model_validate(plain | {"retry_pause_s": 0.01} | settings)
    frame = read_table(generate_traces.fn(*documents, teacher, EmbedConfig()).tables[0])
    assert frame["error_kind"].null_count() == frame.height
    return list(frame["attempt_count"])


def test_requests_in_flight_settle_near_what_the_server_takes(
    documents: tuple[RunRef, StageInputs], busy: tuple[Busy, str]
) -> None:
    server, url = busy
    attempts = ask(documents, url, concurrency=64)
    assert sum(attempts) - len(attempts) == server.refused
    late = [count for count in attempts[len(attempts) // 2 :] if count > 1]
    assert server.refused < DOCUMENTS, "it kept asking for more than the server takes"
    assert len(late) < DOCUMENTS / 6


def test_requests_keep_to_their_rate(documents: tuple[RunRef, StageInputs], busy: tuple[Busy, str]) -> None:
    server, url = busy
    started = time.monotonic()
    ask(documents, url, concurrency=8, requests_per_minute=1200, max_documents=50)
    elapsed = time.monotonic() - started
    allowed_at_once = 1200 / 60
    assert elapsed > (51 - allowed_at_once) / 20 * 0.9
    in_any_second = max(sum(0 <= other - came < 1 for other in server.came_at) for came in server.came_at)
    assert in_any_second <= allowed_at_once + 20 + 1
