"""Equal CPU seconds instead of equal steps: how many steps fit is set before training, so that the schedule ends as it should.

The rule: the time runs from the first look at the training documents to the last step of the refiner, on the thread that trains.
Throwaway trainings of 1, 1 and 13 steps measure what a step costs here. Shortlisters get four fifths of the time (all of them:
the one that serves and those that list for the refiner take twice its steps), the refiner what is left after listing. Steps
depend on the machine, so a student of a time budget is not the same to the bit when it is trained again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.errors import TrainingError

SHORTLISTER_SHARE = 0.8
PROBE_STEPS = 12
"""Steps whose cost is measured, after one that pays for getting ready."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class TimeBudget:
    """CPU seconds of one student, from now on."""

    seconds: float
    clock: Clock = time.thread_time
    began: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        object.__setattr__(self, "began", self.clock())

    def steps(self, train: Callable[[int], object], share: float = 1.0, passes: float = 1.0) -> int:
        """Steps after which this share of the time will have been used.

        Args:
            train: trains something for so many steps that is thrown away.
            share: of the whole time that is used up then.
            passes: how often the steps are done.

        Raises:
            TrainingError: not one step fits.
        """
        train(1)  # what is paid once a process is not to be counted again
        ready = self._cost(train, 1)
        step = max((self._cost(train, 1 + PROBE_STEPS) - ready) / PROBE_STEPS, 1e-9)
        left = share * self.seconds - (self.clock() - self.began) - max(ready - step, 0.0)
        count = int(left / (passes * step))
        if count < 1:
            raise TrainingError(
                f"distill.max_cpu_s = {self.seconds:g}: no step fits any more, {left:.2f} s are left and a step takes "
                f"{step:.4f} s; raise it for all methods"
            )
        return count

    def _cost(self, train: Callable[[int], object], count: int) -> float:
        since = self.clock()
        train(count)
        return self.clock() - since
