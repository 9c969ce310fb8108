"""A run over forty documents and an in-process stand-in whose faults the test chooses."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from schemas.config import EmbedConfig, FaultRates, TeacherConfig
from schemas.refs import RetryRules, RunRef, StageInputs
from tasks.datasets.task import ingest_dataset
from tasks.traces.stand_in.server import Manner, StandInServer
from tasks.traces.stand_in.serving import stand_in_app
from tasks.traces.task import generate_traces
from tests.support.runs import tiny_run, write_lf
from tests.support.serving import serving
from tests.unit.traces.stand_in.tiny_stand_in import DOCUMENTS, NAMES, tiny_stand_in
from warehouse.parquet import read_table

COUNT = 40
PATIENT = {
    "prompt_kind": "open", "model": "stand-in", "answer_form": "free", "retry_pause_s": 0.005, "timeout_s": 0.6,
    "idle_timeout_s": 0.6, "max_attempts": 12, "concurrency": 16, "max_error_frac": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A run's documents, and a server whose faults the test chose."""

    run: RunRef
    inputs: StageInputs
    server: StandInServer
    base_url: str

    def teacher(self, **settings: object) -> TeacherConfig:
        """Settings to ask this server with."""
        return TeacherConfig.model_validate(PATIENT | {"base_url": self.base_url} | settings)

    def traces(self, retry: RetryRules | None = None, **settings: object) -> pl.DataFrame:
        """`raw_traces` after asking with these settings."""
        return read_table(generate_traces.fn(self.run, self.inputs, self.teacher(**settings), EmbedConfig(), retry).tables[0])

    def count(self) -> int:
        """Requests the server got."""
        return int(self.server.stats()["request_count"])


@contextmanager
def asked(folder: Path, faults: FaultRates, answer_format: str = "prose", structured_output: str = "taken") -> Iterator[Asked]:
    """Forty training documents and a test document, ingested, and a server for the block."""
    documents: list[object] = [{"uid": f"d{i}", "title": text, "target_ind": [0]} for i, text in enumerate(DOCUMENTS[:COUNT])]
    labels: list[object] = [{"uid": f"l{i}", "title": name} for i, name in enumerate(NAMES)]
    run = tiny_run(folder / "root")
    lf = write_lf(folder / "lf", documents, [{"uid": "t", "title": "a test", "target_ind": [0]}], labels)
    tables = ingest_dataset.fn(run, run.config.ingest.model_copy(update={"path": str(lf)})).tables
    server = StandInServer(tiny_stand_in({}).think, {}, Manner("stand-in", answer_format, 0, faults, structured_output))
    with serving(stand_in_app(server)) as address:
        yield Asked(run, StageInputs(tables={ref.table: ref for ref in tables}, artifacts={}), server, f"{address}/v1")
