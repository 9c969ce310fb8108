"""Finished trials of a search: a killed one goes on after the last, and one of other settings or inputs is not taken."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from warehouse.atomic import write_bytes
from warehouse.layout import trials_dir

Result = TypeVar("Result", bound=BaseModel)


@dataclass(frozen=True)
class TrialStore:
    """Results that were made from one thing, as JSON files of a folder; they stay, so that a longer search runs only the new."""

    folder: Path

    def find(self, name: str, kind: type[Result]) -> Result | None:
        """The result of this name; none if it is not there, or damaged."""
        try:
            return kind.model_validate_json((self.folder / f"{name}.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def take(self, name: str, kind: type[Result], make: Callable[[], Result]) -> Result:
        """The result of this name if it is there and whole; else it is made and stored.

        Raises:
            StorageError: it cannot be written.
        """
        found = self.find(name, kind)
        if found is None:
            found = make()
            write_bytes(self.folder / f"{name}.json", found.model_dump_json(indent=2).encode())
        return found


def open_trials(root: Path, dataset: str, made_from: Iterable[str]) -> TrialStore:
    """The trials made from exactly these texts: hashes of code and inputs, and settings that all trials share."""
    key = hashlib.sha256(json.dumps(list(made_from)).encode()).hexdigest()
    return TrialStore(trials_dir(root, dataset, key[:32]))


def trial_name(system: str, setting_json: str) -> str:
    """The name of a trial's result: its system and what was tried."""
    return f"{system}-{hashlib.sha256(setting_json.encode()).hexdigest()[:16]}"
