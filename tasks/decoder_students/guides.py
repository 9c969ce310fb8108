"""What a student may be taught besides the tokens of its lessons, as its training sees it; and the guide that teaches nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from tasks.decoder_students.learner import Learner
from tasks.decoder_students.phase_signals import Weighted
from tasks.open_models.lessons import LessonBatch


@dataclass(frozen=True)
class Part:
    """A part of a batch: places of its documents among those that are trained on, and their lessons as tensors."""

    places: Int[np.ndarray, " document"]
    batch: LessonBatch


@dataclass(frozen=True)
class Pass:
    """One forward pass over a part, with gradient: final states of every token, and logits where a token is learnt."""

    part: Part
    states: Float[Tensor, "sequence token d_model"]
    logits: Float[Tensor, "target token"]


class Guide(Protocol):
    """What a student is taught besides the tokens of its lessons."""

    def weights(self) -> Mapping[str, float]:
        """Weight of each term in the loss."""

    def modules(self) -> Sequence[nn.Module]:
        """What is trained along with the student."""

    def begin(self, learner: Learner, step: int) -> None:
        """Is told before each step; gets ready for it."""

    def terms(self, step: int) -> Sequence[str]:
        """The terms that count at a step."""

    def weigh(self, part: Part, step: int) -> Mapping[str, float]:
        """Weight of a part in each term that counts at a step, known without running it."""

    def run(self, learner: Learner, part: Part, step: int) -> tuple[Pass, Mapping[str, Weighted]]:
        """One forward pass over a part, and the terms that count at a step."""

    def state(self) -> dict[str, Any]:
        """What is needed to go on: tensors, numbers and lists."""

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""


class TokensAlone:
    """No guide: the tokens are all there is."""

    def weights(self) -> Mapping[str, float]:
        """None."""
        return {}

    def modules(self) -> Sequence[nn.Module]:
        """None."""
        return ()

    def begin(self, learner: Learner, step: int) -> None:
        """Nothing."""

    def terms(self, step: int) -> Sequence[str]:
        """None."""
        return ()

    def weigh(self, part: Part, step: int) -> Mapping[str, float]:
        """Nothing."""
        return {}

    def run(self, learner: Learner, part: Part, step: int) -> tuple[Pass, Mapping[str, Weighted]]:
        """The pass alone."""
        return run_part(learner, part), {}

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


def run_part(learner: Learner, part: Part) -> Pass:
    """One forward pass over a part."""
    states = learner.states(part.batch.token_ids)
    return Pass(part, states, learner.logits(states, part.batch.rows))
