"""What is searched for decoder students, with the reason of every bound, and which of it a method uses."""

from schemas.student_settings import DecoderMethod, DecoderStudentsConfig
from tasks.decoder_students.methods import DISTRIBUTION, teaching_of
from tasks.trials.drawing import Range

RATE_FACTOR = 4.0
"""The peak learning rate is searched from a fourth of the one that is set to four times it: AdamW moves a weight by about so much
a step, whatever the loss, so the same factor either way is half as far and twice as far again, twice over."""

LAMBDA_P1 = Range("lambda_p1", 0.03, 3.0)
"""From 3% of the token loss, where the phase hardly counts, to three times it; ten times the default either way."""

LAMBDA_P2 = Range("lambda_p2", 0.03, 3.0)
"""As for phase 1."""

LAMBDA_KD = Range("lambda_kd", 0.05, 5.0)
"""Ten times the default either way: from the tokens alone, all but, to the teacher's distribution alone, all but."""


def decoder_space(students: DecoderStudentsConfig) -> tuple[Range, ...]:
    """The searched settings; the learning rate around the one that is set."""
    rate = students.learning_rate
    return (Range("learning_rate", rate / RATE_FACTOR, rate * RATE_FACTOR), LAMBDA_P1, LAMBDA_P2, LAMBDA_KD)


def used_settings(method: DecoderMethod) -> tuple[str, ...]:
    """The searched settings that shape a method; the weight of a term it does not have is without effect."""
    teaching = teaching_of(method)
    has = {"lambda_p1": teaching.has_phase1, "lambda_p2": teaching.has_phase2, "lambda_kd": DISTRIBUTION in teaching.terms}
    return ("learning_rate", *(name for name, is_used in has.items() if is_used))
