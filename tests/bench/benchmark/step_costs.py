"""What a step of each decoder student cost, from the folders of the students that are published."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

from tests.bench.benchmark.queries import Rows
from warehouse.duck import query_warehouse
from warehouse.layout import artifact_path

BESIDE = "cot"


def step_costs(root: Path, dataset: str) -> Rows:
    """A row a student: `method`, `seed`, CPU milliseconds a step, tokens a CPU second."""
    query = f"select distinct run_id from published where dataset = '{dataset}' and stage = 'distill-decoder'"
    rows: Rows = []
    for run_id in query_warehouse(root, query)["run_id"]:
        for path in sorted(artifact_path(root, run_id, "distill-decoder", "decoder_students").rglob("student.json")):
            told = json.loads(path.read_text())
            cost = 1000 * told["train_cpu_s"] / told["step_count"]
            rows.append(
                {
                    "method": told["method"],
                    "seed": told["seed"],
                    "cpu_ms_a_step": cost,
                    "tokens_per_cpu_s": told["tokens_per_cpu_s"],
                }
            )
    return rows


def beside_cot(rows: Rows) -> dict[str, tuple[float, float, float, float]]:
    """By method: mean CPU milliseconds a step, and its ratio to `cot` of the same seed: mean, least, most.

    Nothing without a student of `cot`.
    """
    taken: dict[str, dict[object, float]] = defaultdict(dict)
    for row in rows:
        taken[str(row["method"])][row["seed"]] = float(str(row["cpu_ms_a_step"]))
    plain = taken.get(BESIDE, {})
    found = {}
    for method, by_seed in sorted(taken.items()):
        ratios = [cost / plain[seed] for seed, cost in by_seed.items() if seed in plain]
        if ratios:
            found[method] = (mean(by_seed.values()), mean(ratios), min(ratios), max(ratios))
    return found
