"""The record of a run (`out_runs`), written before it does anything and again when it ends."""

import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from schemas.errors import StorageError
from schemas.tables import OUT_RUNS
from warehouse.atomic import write_bytes
from warehouse.layout import run_record_path

PACKAGES = (
    "characterize-then-distill", "prefect", "polars", "pyarrow", "duckdb", "great-expectations", "openai", "usearch",
    "transformers", "sentence-transformers", "torch", "numpy", "scikit-learn",
)  # fmt: skip

RunRecord = dict[str, str | None]
"""Column of `out_runs` -> value; times as ISO text."""


def now_text() -> str:
    """The present moment in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat()


def package_versions() -> str:
    """Versions of Python and the packages that shape results, as JSON."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return json.dumps(versions)


def code_commit() -> str | None:
    """The git commit of the code, `+changes` if the tree differs from it; None outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"],
                              cwd=folder, capture_output=True, text=True, timeout=20, check=True)  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def processor() -> str:
    """Machine type, cores, and whether a CUDA driver is loaded."""
    cuda = ", CUDA driver" if Path("/proc/driver/nvidia/version").exists() else ", no CUDA"
    return f"{platform.machine()}, {os.cpu_count()} cores{cuda}"


def write_record(root: Path, record: RunRecord) -> None:
    """Write a run's record whole.

    Raises:
        StorageError: the data root cannot be written.
    """
    write_bytes(run_record_path(root, str(record["run_id"])), json.dumps(record, indent=2).encode())


def read_record(root: Path, run_id: str) -> RunRecord:
    """The run's record.

    Raises:
        StorageError: there is no such run, or its record is damaged.
    """
    path = run_record_path(root, run_id)
    try:
        record: RunRecord = json.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise StorageError(f"run {run_id!r}: no readable record at {path} ({exc})") from exc
    return record


def record_frame(record: RunRecord) -> pl.DataFrame:
    """One row of `out_runs`."""
    frame = pl.DataFrame([record], schema=dict.fromkeys(OUT_RUNS.columns, pl.String))
    times = [pl.col(c).str.to_datetime(time_unit="us", time_zone="UTC") for c in ("started_at", "finished_at")]
    return OUT_RUNS.conform(frame.with_columns(times))
