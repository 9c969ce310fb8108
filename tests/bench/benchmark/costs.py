"""CPU seconds of every step, kept beside the data root, so that a step that is reused still says what it took."""

import json
import resource
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.benchmark.plan import Step
from warehouse.atomic import write_bytes


@dataclass(frozen=True)
class Cost:
    """What one step took where it was not reused, and the run that did it."""

    run_id: str
    cpu_s: float
    wall_s: float


def cpu_now() -> float:
    """CPU seconds of this process and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class Costs:
    """Costs of steps in a file below the data root."""

    def __init__(self, root: Path) -> None:
        self._path = root / "benchmark_costs.json"
        self.known: dict[str, dict[str, Cost]] = {}
        if self._path.exists():
            stored = json.loads(self._path.read_text())
            self.known = {name: {stage: Cost(**cost) for stage, cost in stages.items()} for name, stages in stored.items()}

    def keep(self, step: Step, cost: Cost) -> None:
        """Remember a step that was done."""
        self.known.setdefault(step.dataset, {})[step.stage] = cost
        write_bytes(self._path, json.dumps(self.plain(), indent=1).encode())

    def plain(self) -> dict[str, dict[str, dict[str, object]]]:
        """All of them as JSON has them."""
        return {name: {stage: asdict(cost) for stage, cost in stages.items()} for name, stages in self.known.items()}


def expected_cpu_s(results: Path) -> dict[tuple[str, str], float]:
    """CPU seconds by dataset and stage as the results of an earlier benchmark have them; empty without one."""
    if not results.exists():
        return {}
    datasets = json.loads(results.read_text())["datasets"]
    return {
        (name, stage): cost["cpu_s"]
        for found in datasets.values()
        for name, stages in found["costs"].items()
        for stage, cost in stages.items()
    }
