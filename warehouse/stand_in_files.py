"""What the stand-in teacher is told, as files: settings, targets of training documents, relations among labels."""

import gzip
import json
from pathlib import Path
from typing import BinaryIO

import polars as pl
from pydantic import ValidationError

from schemas.config import EmbedConfig, StandInConfig
from schemas.errors import ConfigError, StorageError
from schemas.refs import ArtifactRef, Frozen, RunRef, TableRef
from warehouse.atomic import fresh_dir, storage_errors

SETTINGS = "brief.json"
TARGETS = "targets.parquet"
EDGES = "edges.parquet"
LOG = "server.log"


class BriefSettings(Frozen):
    """Where the stand-in finds labels, vectors and training texts, the name it goes by, and how it behaves."""

    run: RunRef
    labels: TableRef
    documents: TableRef
    index: ArtifactRef
    embed: EmbedConfig
    stand_in: StandInConfig
    model: str


def write_brief(path: Path, settings: BriefSettings, targets: pl.DataFrame, edges: pl.DataFrame) -> None:
    """Write the brief's folder whole, replacing an older one.

    Raises:
        StorageError: the data root cannot be written.
    """
    with fresh_dir(path) as folder:
        (folder / SETTINGS).write_text(settings.model_dump_json(indent=2), encoding="utf-8")
        targets.write_parquet(folder / TARGETS)
        edges.write_parquet(folder / EDGES)


def read_brief(path: Path) -> tuple[BriefSettings, pl.DataFrame, pl.DataFrame]:
    """The brief's settings, targets (text_hash, label_id, is_filtered) and edges (a, b, weight).

    Raises:
        StorageError: the folder is not a brief, or is damaged.
    """
    try:
        settings = BriefSettings.model_validate_json((path / SETTINGS).read_bytes())
        return settings, pl.read_parquet(path / TARGETS), pl.read_parquet(path / EDGES)
    except (OSError, ValidationError, pl.exceptions.PolarsError) as exc:
        raise StorageError(f"{path}: no brief of the stand-in teacher ({exc}); `ctd trace` writes one for each run") from exc


def read_knowledge(path: Path) -> pl.DataFrame:
    """A knowledge file's edges: label_uid, other_uid, weight.

    Raises:
        ConfigError: there is no such file, or it is not JSON with `edges` of two label uids and a weight in 0..1.
    """
    schema = pl.Schema({"label_uid": pl.String, "other_uid": pl.String, "weight": pl.Float64})
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            edges = json.load(file)["edges"]
        frame = pl.DataFrame(edges, schema=schema, orient="row")
    except (OSError, EOFError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as exc:
        raise ConfigError(
            f"teacher.stand_in.knowledge = {str(path)!r} cannot be read: {exc}; "
            'it must be JSON, .gz or plain, like {"edges": [[label uid, label uid, weight in 0..1], ...]}'
        ) from exc
    wrong = frame.filter(~pl.col("weight").is_between(0, 1) | pl.any_horizontal(pl.all().is_null()))
    if len(wrong):
        raise ConfigError(f"teacher.stand_in.knowledge = {str(path)!r}: {len(wrong)} edges are not usable, e.g. {wrong.row(0)}")
    return frame


def open_log(brief: Path) -> BinaryIO:
    """The file that takes what a server of this brief writes to standard error."""
    with storage_errors(brief, "write"):
        return (brief / LOG).open("wb")


def log_tail(brief: Path, char_count: int = 2000) -> str:
    """The server's last words with a heading; empty if it said nothing."""
    text = (brief / LOG).read_text(encoding="utf-8", errors="replace").strip()
    return f"\nthe stand-in's last words ({brief / LOG}):\n{text[-char_count:]}" if text else ""
