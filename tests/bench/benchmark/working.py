"""One dataset's steps in one process: every stage's flow in turn; what did not change is taken from an earlier run."""

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from flows.environment import end_quietly, prepare_environment, show_progress
from tests.bench.benchmark.costs import Cost, Costs, cpu_now, expected_cpu_s
from tests.bench.benchmark.plan import ROOT, SETTINGS, TAGGING, Dataset, Part, Step, plan_steps
from tests.bench.benchmark.slices import take_slice


def work(dataset: Dataset, parts: tuple[Part, ...], root: Path, results: Path) -> None:
    """Do the steps of a dataset; the stand-in's knowledge is named from the project's folder, so it is done there.

    Raises:
        PipelineError: a stage failed, or the dataset is not there.
    """
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_quietly()
    prepare_environment(str(root))
    show_progress()
    source, costs, expected = take_slice(dataset, root), Costs(root), expected_cpu_s(results / "benchmark.json")
    steps = plan_steps(dataset.name, parts)
    for number, step in enumerate(steps):
        before, started = cpu_now(), time.monotonic()
        run_id, is_reused = do_step(step, dataset.name, source, root)
        taken = Cost(run_id, round(cpu_now() - before, 1), round(time.monotonic() - started, 1))
        if not is_reused:
            costs.keep(step, taken)
        left = [expected.get((later.dataset, later.stage)) for later in steps[number + 1 :]]
        say(f"{step.dataset} {step.stage}: {describe(taken, is_reused)}; {remaining(left)}")


def do_step(step: Step, name: str, source: Path, root: Path) -> tuple[str, bool]:
    """The run that published what the step is about, and whether that was an earlier one."""
    if step.stage == TAGGING:
        from tests.bench.benchmark.tagging import measure_tagging  # brings Prefect, whose settings stand in the environment

        return measure_tagging(step.dataset, root)
    function = step.stage.replace("-", "_")
    flow: Callable[..., Any] = getattr(import_module(f"flows.{function}"), function)
    where = {"path": str(source)} if step.stage == "ingest" else {}
    output = flow(step.dataset, root=str(root), config=str(SETTINGS / f"{name}.yaml"), set=list(step.settings), **where)
    return output.run_id, output.is_reused


def describe(taken: Cost, is_reused: bool) -> str:
    """How a step went."""
    return "reused" if is_reused else f"{taken.cpu_s:,.0f} CPU s, {taken.wall_s:,.0f} s"


def remaining(left: list[float | None]) -> str:
    """What is left by what an earlier benchmark took."""
    known = [seconds for seconds in left if seconds is not None]
    if len(known) < len(left):
        return f"{len(left)} steps left, {len(left) - len(known)} of them never measured"
    return f"{len(left)} steps left, at most {sum(known) / 60:.0f} CPU minutes"


def say(line: str) -> None:
    """One line of progress."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()
