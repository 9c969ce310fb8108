"""Manifests of published stages: what was made from what, found by fingerprint, by run or as the newest."""

import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from schemas.errors import MissingTableError, StorageError
from schemas.refs import ArtifactRef, RunRef, StageInputs, StageOutput, TableRef
from schemas.stages import MAKERS, PRODUCERS, Stage
from warehouse.atomic import hash_dir, hash_file, write_bytes
from warehouse.layout import latest_path, published_path, stage_record_path

R = TypeVar("R", TableRef, ArtifactRef)


def hash_code(packages: Sequence[str]) -> str:
    """SHA-256 over the Python sources of some of our packages: a changed stage is run again."""
    total = hashlib.sha256()
    for package in packages:
        folder = Path(str(files(package)))
        for entry in sorted(folder.rglob("*.py")):
            total.update(f"{package}/{entry.relative_to(folder).as_posix()}\0".encode() + entry.read_bytes())
    return total.hexdigest()


def fingerprint(run: RunRef, stage: Stage, inputs: StageInputs, source_hash: str = "") -> str:
    """SHA-256 over everything a stage's result depends on: code, settings, inputs by content."""
    parts = {
        "stage": stage.name,
        "dataset": run.dataset,
        "code": hash_code((f"tasks.{stage.room}", *(f"tasks.{room}" for room in stage.grounds), "schemas")),
        "settings": {name: getattr(run.config, name).model_dump(mode="json") for name in stage.sections},
        "tables": {name: ref.content_hash for name, ref in sorted(inputs.tables.items())},
        "artifacts": {name: ref.content_hash for name, ref in sorted(inputs.artifacts.items())},
        "source": source_hash,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save_output(run: RunRef, output: StageOutput) -> None:
    """Publish: from here on readers and later stages see the stage's tables.

    Raises:
        StorageError: the data root cannot be written; the earlier publication stays.
    """
    root = run.root_path
    content = _relative(output, root).model_dump_json(indent=2).encode()
    write_bytes(stage_record_path(root, run.run_id, output.stage), content)
    write_bytes(published_path(root, output.dataset, output.stage, output.fingerprint), content)
    write_bytes(latest_path(root, output.dataset, output.stage), content)


def find_output(root: Path, dataset: str, stage: str, wanted: str) -> StageOutput | None:
    """The publication made from exactly this, if it is there and every file of it is intact."""
    output = _load(published_path(root, dataset, stage, wanted), root)
    if output is None or not all(map(_is_intact, output.tables)) or not all(map(_is_intact, output.artifacts)):
        return None
    return output


def latest_output(run: RunRef, stage: str) -> StageOutput | None:
    """What this run published of the stage, else the dataset's newest publication of it."""
    root = run.root_path
    own = _load(stage_record_path(root, run.run_id, stage), root)
    return own or _load(latest_path(root, run.dataset, stage), root)


def run_outputs(root: Path, run_id: str, stages: Sequence[str]) -> list[StageOutput]:
    """The publications a run made or reused, in the order of `stages`."""
    found = (_load(stage_record_path(root, run_id, stage), root) for stage in stages)
    return [output for output in found if output is not None]


def newest_outputs(root: Path, stages: Sequence[str]) -> list[StageOutput]:
    """The newest publication of every stage of every dataset below a data root."""
    folders = sorted(p for p in (root / "published").glob("*") if p.is_dir())
    found = (_load(latest_path(root, folder.name, stage), root) for folder in folders for stage in stages)
    return [output for output in found if output is not None]


def find_inputs(run: RunRef, stage: Stage) -> StageInputs:
    """The published tables and artifacts a stage reads.

    Raises:
        MissingTableError: an earlier stage was not run for this dataset.
        StorageError: a published file was changed or removed since.
    """
    tables = {name: _published_table(run, name) for name in stage.reads} | _published_if_there(run, stage)
    artifacts = {name: _published_artifact(run, name) for name in stage.needs}
    return StageInputs(tables=tables, artifacts=artifacts)


def _published_if_there(run: RunRef, stage: Stage) -> dict[str, TableRef]:
    found = {}
    for name in stage.takes:
        writer, table = name.split(":")
        output = latest_output(run, writer)
        if output is not None:
            found[name] = _checked(next(ref for ref in output.tables if ref.table == table), name)
    return found


def _published_table(run: RunRef, name: str) -> TableRef:
    output = _output_of(run, PRODUCERS[name], name)
    ref = next(ref for ref in output.tables if ref.table == name)
    return _checked(ref, name)


def _published_artifact(run: RunRef, name: str) -> ArtifactRef:
    output = _output_of(run, MAKERS[name], name)
    ref = next(ref for ref in output.artifacts if ref.name == name)
    return _checked(ref, name)


def _checked(ref: R, name: str) -> R:
    if not _is_intact(ref):
        raise StorageError(f"{name}: {ref.path} changed after it was published; run `ctd {ref.stage} {ref.dataset}`")
    return ref


def _output_of(run: RunRef, stage: str, wanted: str) -> StageOutput:
    output = latest_output(run, stage)
    if output is None:
        raise MissingTableError(f"dataset {run.dataset!r} has no {wanted} in {run.root}: run `ctd {stage} {run.dataset}` first")
    return output


def _is_intact(ref: TableRef | ArtifactRef) -> bool:
    path = Path(ref.path)
    if isinstance(ref, ArtifactRef):
        return path.is_dir() and hash_dir(path) == ref.content_hash
    return path.is_file() and hash_file(path) == ref.content_hash


def _relative(output: StageOutput, root: Path) -> StageOutput:
    def relative(ref: R) -> R:
        return ref.model_copy(update={"path": Path(ref.path).relative_to(root).as_posix()})

    return output.model_copy(
        update={"tables": tuple(map(relative, output.tables)), "artifacts": tuple(map(relative, output.artifacts))}
    )


def _load(path: Path, root: Path) -> StageOutput | None:
    if not path.exists():
        return None
    try:
        output = StageOutput.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as exc:
        raise StorageError(f"manifest {path} cannot be read ({exc}); delete it and run the stage again") from exc

    def absolute(ref: R) -> R:
        return ref.model_copy(update={"path": str(root / ref.path)})

    return output.model_copy(
        update={"tables": tuple(map(absolute, output.tables)), "artifacts": tuple(map(absolute, output.artifacts))}
    )
