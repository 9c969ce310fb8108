"""What each method teaches a decoder student: the terms of its loss, and their weights."""

from dataclasses import dataclass
from typing import Literal

from schemas.student_settings import DecoderMethod, DecoderStudentsConfig

Term = Literal[
    "distribution_loss",
    "p1_attention_loss",
    "p1_write_loss",
    "p1_interaction_loss",
    "p2_loop_loss",
    "p2_write_loss",
    "p2_interaction_loss",
]
P1_TERMS: tuple[Term, ...] = ("p1_attention_loss", "p1_write_loss", "p1_interaction_loss")
P2_TERMS: tuple[Term, ...] = ("p2_loop_loss", "p2_write_loss", "p2_interaction_loss")
P1, P2 = "p1", "p2"
"""The phases, as matched heads name them."""
DISTRIBUTION: Term = "distribution_loss"
TOKEN = "token_loss"


@dataclass(frozen=True)
class Teaching:
    """What a method is made of: what is read, and the terms besides the token loss; `is_random`: of randomly drawn heads."""

    method: DecoderMethod
    has_trace: bool
    terms: tuple[Term, ...]
    is_random: bool = False

    @property
    def has_phase1(self) -> bool:
        """It imitates heads of phase 1."""
        return any(term in P1_TERMS for term in self.terms)

    @property
    def has_phase2(self) -> bool:
        """It imitates heads of phase 2."""
        return any(term in P2_TERMS for term in self.terms)

    @property
    def imitates_heads(self) -> bool:
        """It imitates heads at all."""
        return self.has_phase1 or self.has_phase2

    def weights(self, settings: DecoderStudentsConfig) -> dict[Term, float]:
        """Weight of each term beside the token loss, whose weight is 1; a term without weight is left out."""
        by_term = {term: settings.lambda_p1 if term in P1_TERMS else settings.lambda_p2 for term in self.terms}
        by_term |= {term: settings.lambda_kd for term in self.terms if term == DISTRIBUTION}
        return {term: weight for term, weight in by_term.items() if weight > 0}


def teaching_of(method: DecoderMethod) -> Teaching:
    """The terms of a method: all six of the phases but those its name takes away."""
    if method in ("answers", "cot", "cot-kd"):
        return Teaching(method, method != "answers", (DISTRIBUTION,) if method == "cot-kd" else ())
    without = method.removeprefix("mechanistic").removeprefix("-no-").replace("-", "_")
    is_ablation = method.startswith("mechanistic-no-")
    terms = tuple(term for term in (*P1_TERMS, *P2_TERMS) if not (is_ablation and term.startswith(without)))
    if method == "mechanistic-kd":
        terms = (*terms, DISTRIBUTION)
    return Teaching(method, True, terms, method == "mechanistic-random-heads")


def system_of(method: DecoderMethod) -> str:
    """What a method's students are called in tables."""
    return f"decoder-{method}"


def student_name(method: DecoderMethod, seed: int) -> str:
    """The folder of a student."""
    return f"{system_of(method)}-seed{seed}"


@dataclass(frozen=True)
class Plan:
    """A student to be trained."""

    method: DecoderMethod
    seed: int

    @property
    def name(self) -> str:
        """Its folder."""
        return student_name(self.method, self.seed)

    @property
    def teaching(self) -> Teaching:
        """What its method is made of."""
        return teaching_of(self.method)
