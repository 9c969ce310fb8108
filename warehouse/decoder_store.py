"""The trained decoder on disk: a Hugging Face folder with its description and losses, and the checkpoints of its training."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import polars as pl
import torch
from pydantic import ValidationError

from schemas.decoders import DecoderDescription
from schemas.errors import StorageError
from warehouse.atomic import fresh_dir
from warehouse.layout import artifact_path
from warehouse.model_folders import LOSSES, load_model_losses, save_model_folder

DESCRIPTION = "decoder.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
STATE = "state.pt"
FINGERPRINT = "fingerprint"


def decoder_dir(root: Path, run_id: str) -> Path:
    """The decoder's folder of one run."""
    return artifact_path(root, run_id, "decoder", "decoder")


def save_decoder(
    path: Path,
    write_model: Callable[[Path], object],
    description: DecoderDescription,
    card_text: str,
    losses: pl.DataFrame,
) -> None:
    """Write a decoder's folder whole; an older one at `path` stays until the new one is complete.

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


def load_decoder_description(path: Path) -> DecoderDescription:
    """What the decoder in a folder was made from.

    Raises:
        StorageError: it is missing, damaged or of another version.
    """
    missing = [name for name in (WEIGHTS, TOKENIZER, LOSSES) if not (path / name).is_file()]
    if missing:
        raise StorageError(f"decoder {path}: {', '.join(missing)} missing; run `ctd decoder` again")
    try:
        return DecoderDescription.model_validate_json((path / DESCRIPTION).read_bytes())
    except (OSError, ValidationError) as exc:
        raise StorageError(f"decoder {path} is missing or damaged ({exc}); run `ctd decoder` again") from exc


def load_decoder_losses(path: Path) -> pl.DataFrame:
    """The losses of a decoder's training.

    Raises:
        StorageError: they are missing or damaged.
    """
    return load_model_losses(path, "decoder", "ctd decoder")


def checkpoint_dir(root: Path, run_id: str, stage: str = "decoder", name: str = "checkpoint") -> Path:
    """Where a training of one run keeps its state."""
    return artifact_path(root, run_id, stage, name)


def save_checkpoint(
    root: Path, run_id: str, fingerprint: str, state: Mapping[str, Any], stage: str = "decoder", name: str = "checkpoint"
) -> None:
    """Write the state of a training, in place of the run's last one.

    Args:
        root: the data root.
        run_id: the run.
        fingerprint: what the training is made from.
        state: tensors, numbers, texts, and lists and dicts of them.
        stage: whose training it is.
        name: of the training within the stage.

    Raises:
        StorageError: it cannot be written; the last one stays.
    """
    with fresh_dir(checkpoint_dir(root, run_id, stage, name)) as folder:
        torch.save(dict(state), folder / STATE)
        (folder / FINGERPRINT).write_text(fingerprint)


def find_checkpoint(
    root: Path, run_id: str, fingerprint: str, stage: str = "decoder", name: str = "checkpoint"
) -> dict[str, Any] | None:
    """The furthest state of a training made from the same, of this run or another; None without one that can be read.

    Args:
        root: the data root.
        run_id: any run; the folders of all are looked through.
        fingerprint: what the training is made from.
        stage: whose training it is.
        name: of the training within the stage.
    """
    runs = checkpoint_dir(root, run_id, stage, name).relative_to(root).parts
    pattern = "/".join(part if part != run_id else "*" for part in runs)
    found = [state for path in sorted(root.glob(pattern)) if (state := _load_checkpoint(path, fingerprint)) is not None]
    return max(found, key=lambda state: int(state["step"]), default=None)


def _load_checkpoint(path: Path, fingerprint: str) -> dict[str, Any] | None:
    try:
        if (path / FINGERPRINT).read_text() != fingerprint:
            return None
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError):  # what was cut or is of another version is made again
        return None
    return dict(state)


def drop_checkpoint(root: Path, run_id: str, stage: str = "decoder", name: str = "checkpoint") -> None:
    """Delete the run's state: its training is done."""
    shutil.rmtree(checkpoint_dir(root, run_id, stage, name), ignore_errors=True)
