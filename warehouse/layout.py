"""(root, run, stage, table) -> path. Nobody else builds a path below the data root."""

import re
from pathlib import Path

from schemas.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def checked_name(name: str) -> str:
    """The dataset name, if it can be a folder name.

    Raises:
        ConfigError: it is empty, too long, or has characters other than letters, digits, `.`, `_` and `-`.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"dataset name {name!r}: allowed are 1 to 100 letters, digits, '.', '_' and '-', the first a letter or digit"
        )
    return name


def run_dir(root: Path, run_id: str) -> Path:
    """Everything one run wrote."""
    return root / "runs" / run_id


def run_record_path(root: Path, run_id: str) -> Path:
    """The run's row of `out_runs`, as JSON."""
    return run_dir(root, run_id) / "run.json"


def table_path(root: Path, run_id: str, stage: str, table: str) -> Path:
    """The Parquet file of one table of one stage of one run."""
    return run_dir(root, run_id) / stage / f"{table}.parquet"


def artifact_path(root: Path, run_id: str, stage: str, name: str) -> Path:
    """The folder of one artifact (label index, students) of one run."""
    return run_dir(root, run_id) / stage / name


def checks_path(root: Path, run_id: str, stage: str) -> Path:
    """What the gate found after one stage of one run, as `out_checks` Parquet; written also when it fails."""
    return run_dir(root, run_id) / stage / "out_checks.parquet"


def published_path(root: Path, dataset: str, stage: str, fingerprint: str) -> Path:
    """The manifest of a published stage, found by what it was made from."""
    return root / "published" / checked_name(dataset) / stage / f"{fingerprint}.json"


def latest_path(root: Path, dataset: str, stage: str) -> Path:
    """The manifest of the stage's newest publication."""
    return root / "published" / checked_name(dataset) / stage / "latest.json"


def stage_record_path(root: Path, run_id: str, stage: str) -> Path:
    """The stage's manifest as this run used it: its own, or the earlier one it reused."""
    return run_dir(root, run_id) / "stages" / f"{stage}.json"


def journal_path(root: Path, dataset: str) -> Path:
    """The teacher's answers, one JSON line each, shared by all runs of a dataset."""
    return root / "journal" / f"{checked_name(dataset)}.jsonl"


def parts_dir(journal: Path) -> Path:
    """A journal's compacted records; no name of another dataset can make the same path."""
    return journal.with_suffix(".parts")


def lock_path(journal: Path) -> Path:
    """The file that the process locks which has the journal open; it stays, and is empty."""
    return journal.with_suffix(".lock")


def servers_path(root: Path) -> Path:
    """What was learned of the servers that were asked."""
    return root / "journal" / "servers.json"


def batch_dir(root: Path, dataset: str) -> Path:
    """Batch files of a dataset: those to be sent, and where the results are put."""
    return root / "batches" / checked_name(dataset)


def embedding_dir(root: Path, embedder: str) -> Path:
    """Cached vectors of one embedder at one length."""
    return root / "cache" / "embeddings" / re.sub(r"[^A-Za-z0-9._-]+", "_", embedder)


def head_blocks_dir(root: Path, dataset: str, key: str) -> Path:
    """Finished blocks of the heads stage, by what they were made from."""
    return root / "cache" / "heads" / checked_name(dataset) / key


def signal_dir(root: Path, dataset: str, key: str) -> Path:
    """A teacher's signals by document, by what they were made from."""
    return root / "cache" / "signals" / checked_name(dataset) / key


def trials_dir(root: Path, dataset: str, key: str) -> Path:
    """Finished trials of a search, by what they were made from."""
    return root / "cache" / "search" / checked_name(dataset) / key


def report_dir(root: Path, dataset: str) -> Path:
    """The dataset's static pages."""
    return root / "reports" / checked_name(dataset)


def warehouse_path(root: Path) -> Path:
    """The DuckDB file readers open."""
    return root / "warehouse.duckdb"
