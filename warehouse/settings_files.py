"""Settings files (YAML) and the shipped samples, as plain values."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import ConfigError
from warehouse.atomic import write_bytes

Values = dict[str, Any]
"""Section -> setting -> value, as YAML gives them: any JSON type, checked later by `PipelineConfig`."""

SETTINGS_FILE = "settings.yaml"
"""Name of the settings file in the folder of what a search chose, or of a sample."""

SAMPLES = {"debian-seealso-small": "debian_seealso_small"}
"""Dataset name -> folder below `samples`."""


def read_settings(path: Path) -> Values:
    """The values of a settings file.

    Raises:
        ConfigError: the file is missing, is not YAML, or is not a mapping of sections.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"settings file {path}: {exc.strerror or exc}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError(f"settings file {path} is not YAML: {exc}") from exc
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"settings file {path}: got a {type(values).__name__}, expected sections such as 'teacher:'")
    return values


def write_settings(path: Path, values: Values, comment: str) -> None:
    """Write a settings file that `--config` takes, with a comment of one or more lines above it.

    Raises:
        StorageError: it cannot be written.
    """
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    write_bytes(path, (head + yaml.safe_dump(values, sort_keys=False)).encode())


def settings_lines(folder: Path) -> list[str]:
    """The lines of a folder's settings file, comment and all.

    Raises:
        ConfigError: there is none.
    """
    path = folder / SETTINGS_FILE
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise ConfigError(f"settings file {path}: {exc.strerror or exc}") from exc


def sample_dir(name: str) -> Path | None:
    """The folder of a shipped dataset; None if there is none of that name."""
    folder = SAMPLES.get(name)
    return Path(str(files("samples"))) / folder if folder else None


def sample_settings(name: str) -> Values:
    """The settings that ship with a sample; none for any other dataset."""
    folder = sample_dir(name)
    if folder is None:
        return {}
    values = read_settings(folder / SETTINGS_FILE)
    stand_in = values.get("teacher", {}).get("stand_in", {})
    if stand_in.get("knowledge"):
        stand_in["knowledge"] = str(folder / stand_in["knowledge"])
    return values
