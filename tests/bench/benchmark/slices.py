"""The first documents of a dataset in LF layout, as a dataset of its own; documents stand in random order there."""

import gzip
import os
from itertools import islice
from pathlib import Path

from schemas.errors import ConfigError
from tests.bench.benchmark.plan import ROOT, SAMPLE, SHARED, Dataset
from warehouse.atomic import write_bytes

DATA_VARIABLE = "CTD_BENCH_DATA"


def find_source(name: str) -> Path | None:
    """The folder of a dataset: the shipped sample, or below `CTD_BENCH_DATA`; None where it is not there."""
    if name == SAMPLE:
        return ROOT / "samples" / SAMPLE.replace("-", "_")
    folder = Path(os.environ.get(DATA_VARIABLE, SHARED)) / name
    return folder if folder.is_dir() else None


def take_slice(dataset: Dataset, root: Path) -> Path:
    """The folder to ingest: the dataset's own if it is taken whole, else its slice below `root`.

    Raises:
        ConfigError: the dataset is not there.
    """
    source = find_source(dataset.name)
    if source is None:
        raise ConfigError(f"dataset {dataset.name} is not there: set {DATA_VARIABLE} to the folder that holds it")
    if dataset.train_count is None and dataset.test_count is None:
        return source
    target = root / "slices" / f"{dataset.name}-{dataset.train_count}-{dataset.test_count}"
    _copy(source, target, "lbl.json", None)
    for split, count in (("trn", dataset.train_count), ("tst", dataset.test_count)):
        _copy(source, target, f"{split}.json", count)
        _copy_filters(source, target, f"filter_labels_{split}.txt", count)
    return target


def _lines(folder: Path, name: str) -> list[bytes]:
    packed, plain = folder / f"{name}.gz", folder / name
    return (gzip.decompress(packed.read_bytes()) if packed.exists() else plain.read_bytes()).splitlines(keepends=True)


def _write(target: Path, name: str, lines: list[bytes]) -> None:
    write_bytes(target / f"{name}.gz", gzip.compress(b"".join(lines), mtime=0))


def _copy(source: Path, target: Path, name: str, count: int | None) -> None:
    _write(target, name, list(islice(_lines(source, name), count)))


def _copy_filters(source: Path, target: Path, name: str, count: int | None) -> None:
    if (source / name).exists() or (source / f"{name}.gz").exists():
        kept = [line for line in _lines(source, name) if count is None or int(line.split()[0]) < count]
        _write(target, name, kept)
