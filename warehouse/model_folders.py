"""A trained model on disk: a Hugging Face folder with its description, model card and losses, written whole."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
from pydantic import BaseModel

from schemas.errors import StorageError
from warehouse.atomic import fresh_dir

CARD = "README.md"
LOSSES = "train_steps.parquet"


def save_model_folder(
    path: Path,
    write_model: Callable[[Path], object],
    description: BaseModel,
    description_file: str,
    card_text: str,
    losses: pl.DataFrame,
) -> None:
    """Write a model's folder whole; an older one at `path` stays until the new one is complete.

    Args:
        path: the folder.
        write_model: writes weights, configuration and tokenizer into a folder.
        description: what it was made from.
        description_file: the name it is kept under.
        card_text: the model card.
        losses: of every step.

    Raises:
        StorageError: the folder cannot be written.
    """
    with fresh_dir(path) as folder:
        write_model(folder)
        losses.write_parquet(folder / LOSSES)
        (folder / CARD).write_text(card_text, encoding="utf-8")
        (folder / description_file).write_text(description.model_dump_json(indent=2), encoding="utf-8")


def load_model_losses(path: Path, what: str, command: str) -> pl.DataFrame:
    """The losses of a model's training.

    Args:
        path: the folder.
        what: the kind of model, for the message.
        command: makes it again.

    Raises:
        StorageError: they are missing or damaged.
    """
    try:
        return pl.read_parquet(path / LOSSES)
    except (OSError, pl.exceptions.PolarsError) as exc:
        raise StorageError(f"{what} {path} is missing or damaged ({exc}); run `{command}` again") from exc
