"""Trained students on disk: a folder with weights (safetensors), a description (JSON), a model card and the losses."""

import shutil
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from schemas.errors import StorageError
from warehouse.atomic import fresh_dir

Arrays = dict[str, NDArray[np.generic]]
Description = TypeVar("Description", bound=BaseModel)

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"
LOSSES = "train_steps.parquet"


def save_student(path: Path, arrays: Arrays, description: BaseModel, card_text: str, losses: pl.DataFrame) -> None:
    """Write a student's folder whole; an older one at `path` stays until the new one is complete.

    Raises:
        StorageError: the folder cannot be written.
    """
    with fresh_dir(path) as folder:
        whole = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
        (folder / WEIGHTS).write_bytes(save(whole))
        losses.write_parquet(folder / LOSSES)
        (folder / CARD).write_text(card_text, encoding="utf-8")
        (folder / CONFIG).write_text(description.model_dump_json(indent=2), encoding="utf-8")


def is_student(path: Path) -> bool:
    """True if a whole student stands at `path`."""
    return all((path / name).is_file() for name in (WEIGHTS, CONFIG, CARD, LOSSES))


def list_students(path: Path) -> list[Path]:
    """The students of an artifact folder, by name.

    Raises:
        StorageError: there is none.
    """
    found = sorted(folder for folder in path.glob("*") if is_student(folder))
    if not found:
        raise StorageError(f"{path} holds no student; run `ctd distill` again")
    return found


def load_description(path: Path, kind: type[Description]) -> Description:
    """What a student was made from and how.

    Raises:
        StorageError: it is missing, damaged or of another version.
    """
    try:
        return kind.model_validate_json((path / CONFIG).read_bytes())
    except (OSError, ValidationError) as exc:
        raise StorageError(f"student {path} is missing or damaged ({exc}); run `ctd distill` again") from exc


def load_arrays(path: Path) -> Arrays:
    """A student's weights and memory.

    Raises:
        StorageError: they are missing or damaged.
    """
    try:
        return dict(load_file(path / WEIGHTS))
    except (OSError, SafetensorError) as exc:
        raise StorageError(f"student {path} is missing or damaged ({exc}); run `ctd distill` again") from exc


def load_losses(path: Path) -> pl.DataFrame:
    """The losses of a student's training.

    Raises:
        StorageError: they are missing or damaged.
    """
    try:
        return pl.read_parquet(path / LOSSES)
    except (OSError, pl.exceptions.PolarsError) as exc:
        raise StorageError(f"student {path} is missing or damaged ({exc}); run `ctd distill` again") from exc


def keep_only(path: Path, names: set[str]) -> None:
    """Delete everything in an artifact folder but these students: leftovers of a kill, students of other settings."""
    for entry in path.glob("*"):
        if entry.name not in names:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
