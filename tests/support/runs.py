"""Runs and tiny datasets for tests."""

import json
from pathlib import Path

from schemas.config import PipelineConfig
from schemas.refs import RunRef


def tiny_run(root: Path, dataset: str = "tiny", run_id: str = "run-1", config: PipelineConfig | None = None) -> RunRef:
    """A run below `root`; nothing is written."""
    return RunRef(root=str(root), run_id=run_id, dataset=dataset, command="test", config=config or PipelineConfig())


def write_lf(folder: Path, train: list[object], test: list[object], labels: list[object], filters: str = "") -> Path:
    """A dataset in LF layout; strings are written as they are, so that lines can be broken."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("trn.json", train), ("tst.json", test), ("lbl.json", labels)):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / name).write_text("\n".join(lines) + ("\n" if lines else ""))
    if filters:
        (folder / "filter_labels_trn.txt").write_text(filters)
    return folder


def tiny_lf(folder: Path) -> Path:
    """Four train and two test documents over five labels."""
    names = ("editor", "web server", "image viewer", "database", "game")
    labels = [{"uid": f"l{i}", "title": name} for i, name in enumerate(names)]
    train: list[object] = [
        {"uid": f"d{i}", "title": f"a small {name}", "content": "for daily work", "target_ind": [i, (i + 1) % 5]}
        for i, name in enumerate(names[:4])
    ]
    test: list[object] = [{"uid": f"t{i}", "title": f"another {names[i]}", "target_ind": [i]} for i in (0, 4)]
    return write_lf(folder, train, test, list(labels), "0 1\n")
