"""`benchmark.json` and `benchmark.md`: every number comes from a warehouse or from a measured cost, none is typed."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.benchmark.costs import Costs
from tests.bench.benchmark.pages import benchmark_page
from tests.bench.benchmark.plan import DATASETS, TAGGING_FIGURES
from tests.bench.benchmark.queries import CONTRASTS, COUNTS, METRICS, TOKENS, Rows, ask, evaluated_datasets
from tests.bench.benchmark.step_costs import step_costs
from warehouse.atomic import write_bytes
from warehouse.layout import warehouse_path

MILLION = 1_000_000
REFERENCE = "supervised_reference.json"
"""Written by `test_supervised_reference_bench.py`, on the same slices."""


@dataclass(frozen=True)
class Prices:
    """US dollars a million tokens into and out of the teacher, and an hour of one core; None: not given, so not used."""

    tokens_in: float | None
    tokens_out: float | None
    core_hour: float | None


def write_results(root: Path, results: Path, prices: Prices) -> None:
    """Collect what the data roots below `root` hold, and write both files."""
    roots = {d.name: root / d.name for d in DATASETS if warehouse_path(root / d.name).exists()}
    reference = read_reference(results / REFERENCE)
    datasets = {name: collect(name, folder, prices, reference.get(name, [])) for name, folder in roots.items()}
    found = {"prices": asdict(prices), "datasets": datasets}
    results.mkdir(parents=True, exist_ok=True)
    write_bytes(results / "benchmark.json", row_lines(found).encode())
    write_bytes(results / "benchmark.md", benchmark_page(found).encode())


def row_lines(found: Mapping[str, object]) -> str:
    """JSON with a line a row: values within the innermost objects and lists are not broken."""
    return re.sub(r"[{\[]\n[^{}\[\]]*[}\]]", lambda part: re.sub(r"\n\s*", " ", part[0]), json.dumps(found, indent=1)) + "\n"


def read_reference(path: Path) -> dict[str, Rows]:
    """Metrics of the supervised reference by dataset; nothing where it was not measured."""
    known = json.loads(path.read_text()) if path.exists() else {}
    return {name: [{"dataset": name, **row} for row in figures["metrics"]] for name, figures in known.items()}


def collect(name: str, root: Path, prices: Prices, reference: Rows) -> dict[str, object]:
    """Everything of one data root: the dataset and its variants."""
    evaluated = evaluated_datasets(root)
    path = root / TAGGING_FIGURES
    tagging = json.loads(path.read_text()) if path.exists() else None
    tokens = ask(root, TOKENS, name)[0]
    return {
        "counts": {dataset: ask(root, COUNTS, dataset)[0] for dataset in evaluated},
        "metrics": [*(row for dataset in evaluated for row in ask(root, METRICS, dataset)), *reference],
        "contrasts": [row for dataset in evaluated for row in ask(root, CONTRASTS, dataset)],
        "costs": Costs(root).plain(),
        "steps": step_costs(root, name),
        "tokens": tokens,
        "tagging": tagging,
        "million": cost_of_a_million(tokens, tagging, prices),
    }


def cost_of_a_million(tokens: dict[str, object], tagging: dict[str, float] | None, prices: Prices) -> dict[str, float | None]:
    """Tokens, core hours and, where prices are given, US dollars for a million documents: the teacher's and a student's."""
    into, out = tokens["prompt_tokens"], tokens["completion_tokens"]
    hours = tagging["cpu_ms_a_document"] * MILLION / 1000 / 3600 if tagging else None
    has_prices = prices.tokens_in is not None and prices.tokens_out is not None
    is_known = isinstance(into, float) and isinstance(out, float)
    return {
        "teacher_tokens_in": into * MILLION if isinstance(into, float) else None,
        "teacher_tokens_out": out * MILLION if isinstance(out, float) else None,
        "teacher_usd": into * prices.tokens_in + out * prices.tokens_out if has_prices and is_known else None,  # type: ignore[operator]
        "student_core_hours": hours,
        "student_usd": hours * prices.core_hour if hours is not None and prices.core_hour is not None else None,
    }
