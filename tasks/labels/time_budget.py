"""Equal CPU seconds instead of equal steps: how many steps fit is set before training, so that the schedule ends as it should.

Throwaway trainings of 1, 1 and 13 steps (of 49, 193 and so on until one takes 2% of the time) measure what a step costs here;
they count towards the time. Steps depend on the
machine, so a student of a time budget is not the same to the bit when it is trained again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from schemas.errors import TrainingError

PROBE_STEPS = 12
"""Steps whose cost is measured, after one that pays for getting ready; four times as many while they are too short a time."""

LEAST_SHARE = 0.02
"""Share of the time that what is measured must take: a shorter time says little."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class TimeBudget:
    """CPU seconds of one student, from now on."""

    seconds: float
    setting: str
    """Name of the setting that says so, for messages."""
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
        probed, cost = PROBE_STEPS, self._cost(train, 1 + PROBE_STEPS) - ready
        while cost < LEAST_SHARE * self.seconds:
            probed *= 4
            cost = self._cost(train, 1 + probed) - ready
        step = cost / probed
        left = share * self.seconds - (self.clock() - self.began) - max(ready - step, 0.0)
        count = int(left / (passes * step))
        if count < 1:
            raise TrainingError(
                f"{self.setting} = {self.seconds:g}: no step fits any more, {left:.2f} s are left and a step takes "
                f"{step:.4f} s; raise it for all methods"
            )
        return count

    def _cost(self, train: Callable[[int], object], count: int) -> float:
        since = self.clock()
        train(count)
        return self.clock() - since
