"""Trained decoder students on disk: one Hugging Face folder each, with its description, model card and losses."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from schemas.decoders import DecoderStudentDescription
from schemas.errors import StorageError
from warehouse.atomic import fresh_dir
from warehouse.layout import artifact_path
from warehouse.model_folders import CARD, LOSSES, load_model_losses, save_model_folder

STAGE, ARTIFACT = "distill-decoder", "decoder_students"
DESCRIPTION = "student.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TOKENIZER = "tokenizer.json"
CONFIG = "config.json"


def students_dir(root: Path, run_id: str) -> Path:
    """The folder of one run's students."""
    return artifact_path(root, run_id, STAGE, ARTIFACT)


def save_decoder_student(
    path: Path,
    write_model: Callable[[Path], object],
    description: DecoderStudentDescription,
    card_text: str,
    losses: pl.DataFrame,
) -> None:
    """Write a student's folder whole; an older one at `path` stays until the new one is complete.

    Args:
        path: the folder.
        write_model: writes weights, configuration and tokenizer into a folder.
        description: what it was made from.
        card_text: the model card.
        losses: of every step.

    Raises:
        StorageError: the folder cannot be written.
    """
    save_model_folder(path, write_model, description, DESCRIPTION, card_text, losses)


def load_student_description(path: Path) -> DecoderStudentDescription:
    """What the student in a folder was made from.

    Raises:
        StorageError: it is missing, damaged or of another version.
    """
    missing = [name for name in (CONFIG, TOKENIZER, LOSSES, CARD) if not (path / name).is_file()]
    missing += [] if any((path / name).is_file() for name in WEIGHTS) else [WEIGHTS[0]]
    if missing:
        raise StorageError(f"decoder student {path}: {', '.join(missing)} missing; run `ctd {STAGE}` again")
    try:
        return DecoderStudentDescription.model_validate_json((path / DESCRIPTION).read_bytes())
    except (OSError, ValidationError) as exc:
        raise StorageError(f"decoder student {path} is missing or damaged ({exc}); run `ctd {STAGE}` again") from exc


def load_student_losses(path: Path) -> pl.DataFrame:
    """The losses of a student's training.

    Raises:
        StorageError: they are missing or damaged.
    """
    return load_model_losses(path, "decoder student", f"ctd {STAGE}")


def list_decoder_students(path: Path) -> list[Path]:
    """The students of an artifact folder, by name.

    Raises:
        StorageError: there is none.
    """
    found = sorted(folder for folder in path.glob("*") if (folder / DESCRIPTION).is_file())
    if not found:
        raise StorageError(f"{path} holds no decoder student; run `ctd {STAGE}` again")
    return found


def is_made_from(path: Path, fingerprint: str) -> bool:
    """True if a whole student of this fingerprint stands at `path`."""
    try:
        return load_student_description(path).fingerprint == fingerprint
    except StorageError:
        return False


def take_over(root: Path, run_id: str, name: str, fingerprint: str) -> bool:
    """Copy a finished student of this fingerprint from another run, if there is one; whether there was.

    Args:
        root: the data root.
        run_id: the run that needs it.
        name: of the student.
        fingerprint: what it is made from.

    Raises:
        StorageError: it cannot be copied.
    """
    target = students_dir(root, run_id) / name
    for path in _of_all_runs(root, run_id, name):
        if path != target and is_made_from(path, fingerprint):
            with fresh_dir(target) as folder:
                shutil.copytree(path, folder, dirs_exist_ok=True)
            return True
    return False


def _of_all_runs(root: Path, run_id: str, name: str) -> Iterator[Path]:
    parts = (students_dir(root, run_id) / name).relative_to(root).parts
    yield from sorted(root.glob("/".join(part if part != run_id else "*" for part in parts)), reverse=True)


def keep_students(path: Path, names: set[str]) -> None:
    """Delete everything in an artifact folder but these students: leftovers of a kill, students of other settings."""
    for entry in path.glob("*"):
        if entry.name not in names:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
