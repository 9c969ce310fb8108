"""Finished blocks of the heads stage: a killed one goes on after the last, and none of other settings or inputs is taken."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from warehouse.atomic import write_atomically
from warehouse.layout import head_blocks_dir


@dataclass(frozen=True)
class HeadBlocks:
    """Blocks that were made from one thing, as Parquet files of a folder."""

    folder: Path

    def take(self, name: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """The block of this name if it is there and whole; else it is made and stored.

        Raises:
            StorageError: it cannot be written.
        """
        path = self.folder / f"{name}.parquet"
        try:
            return pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError):  # not there, or damaged: made anew
            frame = make()
            write_atomically(path, frame.write_parquet)
            return frame

    def drop(self) -> None:
        """Delete them: their results stand in tables."""
        shutil.rmtree(self.folder, ignore_errors=True)


def open_blocks(root: Path, dataset: str, made_from: Iterable[str]) -> HeadBlocks:
    """The blocks made from exactly these texts: hashes of code, model and inputs, and settings."""
    key = hashlib.sha256(json.dumps(list(made_from)).encode()).hexdigest()
    return HeadBlocks(head_blocks_dir(root, dataset, key[:32]))
