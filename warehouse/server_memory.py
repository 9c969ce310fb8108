"""What was learned of a server: the form of answer it and its model follow, so that it is not tried again."""

import json
from pathlib import Path

from schemas.errors import StorageError
from warehouse.atomic import storage_errors, write_bytes
from warehouse.layout import servers_path


def remembered_form(root: Path, endpoint: str, model: str) -> str | None:
    """The form of answer learned for this endpoint and model; null if none was.

    Raises:
        StorageError: the file is there and cannot be read.
    """
    return _read(root).get(_key(endpoint, model))


def remember_form(root: Path, endpoint: str, model: str, form: str) -> None:
    """Keep what was learned.

    Raises:
        StorageError: the data root cannot be written.
    """
    _write(root, _read(root) | {_key(endpoint, model): form})


def forget_form(root: Path, endpoint: str, model: str) -> None:
    """Forget it, so that the next run learns again.

    Raises:
        StorageError: the data root cannot be written.
    """
    known = _read(root)
    if known.pop(_key(endpoint, model), None) is not None:
        _write(root, known)


def _key(endpoint: str, model: str) -> str:
    return f"{endpoint} {model}"


def _read(root: Path) -> dict[str, str]:
    path = servers_path(root)
    if not path.exists():
        return {}
    with storage_errors(path, "read"):
        text = path.read_text(encoding="utf-8")
    try:
        known = json.loads(text)
    except ValueError as exc:
        raise StorageError(f"{path}: is no JSON ({exc}); delete it, what it holds is learned again") from exc
    return {key: form for key, form in known.items() if isinstance(form, str)} if isinstance(known, dict) else {}


def _write(root: Path, known: dict[str, str]) -> None:
    write_bytes(servers_path(root), json.dumps(known, indent=2, sort_keys=True).encode())
