"""Runs in an environment of its own, which has napkinXC and nothing of ours: train a label tree on gold, predict test documents.

    python napkin_labels.py FOLDER SEED TOP

reads `train.npz`, `targets.npz` and `test.npz` (sparse, of scipy) of the folder and writes `found.npz` and `seconds.json`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from napkinxc.models import PLT  # type: ignore[import-not-found]  # installed only beside this script
from scipy.sparse import load_npz


def main(folder: Path, seed: int, top: int) -> None:
    """Train with napkinXC's own defaults, on one thread, and write the `top` labels of each test document."""
    features, targets, test = (load_npz(folder / f"{name}.npz") for name in ("train", "targets", "test"))
    started = time.process_time()
    tree = PLT(str(folder / f"model-{seed}"), seed=seed, threads=1)
    tree.fit(features, targets)
    trained = time.process_time()
    lists = tree.predict_proba(test, top_k=top)
    predicted = time.process_time()
    rows = [(i, label, score) for i, found in enumerate(lists) for label, score in found]
    documents, labels, scores = (np.array(part) for part in zip(*rows, strict=True))
    np.savez(folder / "found.npz", documents=documents, labels=labels, scores=scores)
    (folder / "seconds.json").write_text(json.dumps({"train_cpu_s": trained - started, "predict_cpu_s": predicted - trained}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
