"""What is searched for encoder students, with the reason of every bound, and which of it a method uses."""

from schemas.student_settings import DistillConfig
from tasks.students.methods import PHASES
from tasks.trials.drawing import Range

RATE_FACTOR = 4.0
"""The peak learning rate is searched from a fourth of the default to four times it.

AdamW moves a weight by about the learning rate a step. First layers start within 1/sqrt(384) = 0.05: at 4 times 2e-3 a step is a
sixth of that, and more would make the start no start. At a fourth, 150 steps of one cycle move a weight by some 0.04 at most,
hardly away from the embedder.
"""

WEIGHT_DECAY = Range("weight_decay", 1e-3, 0.3)
"""A training shrinks weights by the factor exp(-decay * sum of rates): at 0.3 by 5% at the default rate, at 1e-3 not at all."""

TEMPERATURE = Range("temperature", 0.02, 0.2)
"""A difference of 0.1 in cosine is 5 nats at 0.02, all but a decision, and half a nat at 0.2, all but nothing."""

LAMBDA_P1 = Range("lambda_p1", 0.03, 3.0)
"""From 3% of the answers' term, where the phase hardly counts, to three times it (development: 3 was worse than 0.1 to 1)."""

LAMBDA_P2 = Range("lambda_p2", 0.02, 2.0)
"""As for phase 1, a little lower: in the prototype 1 hurt and 0.2 helped."""


def encoder_space(distill: DistillConfig) -> tuple[Range, ...]:
    """The searched settings; the learning rate around the one that is set."""
    rate = distill.learning_rate
    return (Range("learning_rate", rate / RATE_FACTOR, rate * RATE_FACTOR), WEIGHT_DECAY, TEMPERATURE, LAMBDA_P1, LAMBDA_P2)


def used_settings(system: str) -> tuple[str, ...]:
    """The searched settings that shape a method; the weight of a phase it does not have is without effect."""
    phases = PHASES[system]
    weights = (*(("lambda_p1",) if phases.has_p1 else ()), *(("lambda_p2",) if phases.has_p2 else ()))
    return ("learning_rate", "weight_decay", "temperature", *weights)
