from dataclasses import dataclass

import pytest

from schemas.errors import TrainingError
from tasks.labels.time_budget import TimeBudget


@dataclass
class Machine:
    """A clock that training moves on: so long to get ready, so long a step."""

    ready_s: float
    step_s: float
    now_s: float = 100.0

    def clock(self) -> float:
        return self.now_s

    def train(self, count: int) -> None:
        self.now_s += self.ready_s + count * self.step_s


@pytest.mark.parametrize(("share", "passes"), [(1.0, 1.0), (0.8, 2.0)])
def test_steps_use_up_the_share_and_no_more(share: float, passes: float) -> None:
    machine = Machine(ready_s=0.5, step_s=0.01)
    count = TimeBudget(20.0, "distill.max_cpu_s", machine.clock).steps(machine.train, share, passes)
    machine.now_s += machine.ready_s + passes * count * machine.step_s
    assert 0.999 * share * 20 - 0.02 <= machine.now_s - 100 <= share * 20


def test_steps_count_what_was_spent_before() -> None:
    machine = Machine(ready_s=0.0, step_s=0.1)
    budget = TimeBudget(10.0, "distill.max_cpu_s", machine.clock)
    first = budget.steps(machine.train)
    machine.now_s += 5.0
    assert budget.steps(machine.train) == pytest.approx(first - 50 - 15, abs=1)


def test_steps_refuse_a_time_in_which_nothing_fits() -> None:
    machine = Machine(ready_s=0.5, step_s=0.01)
    with pytest.raises(TrainingError, match=r"distill\.max_cpu_s = 1: no step fits any more"):
        TimeBudget(1.0, "distill.max_cpu_s", machine.clock).steps(machine.train)
