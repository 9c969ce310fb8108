"""The named terms of a step's loss, and their weighted sum over a batch that is computed in parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import torch
from torch import Tensor

from tasks.decoder_students.phase_signals import Weighted

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Terms(Generic[T]):
    """Something of each term, by its name in `core_train_steps`; None: the method is without it."""

    token_loss: T | None = None
    distribution_loss: T | None = None
    p1_attention_loss: T | None = None
    p1_write_loss: T | None = None
    p1_interaction_loss: T | None = None
    p2_loop_loss: T | None = None
    p2_write_loss: T | None = None
    p2_interaction_loss: T | None = None

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and values of the terms that are there, in order."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                yield field.name, value

    def map(self, change: Callable[[str, T], U]) -> "Terms[U]":
        """The same terms, each changed."""
        return Terms(**{name: change(name, value) for name, value in self.items()})


@dataclass(frozen=True)
class Lambdas:
    """Weights of the terms in their sum.

    token + kd * distribution + p1 * (attention + write + interaction) + p2 * (loop + write + interaction).

    Source: Saha Roy et al., arXiv 2606.06840, with the distribution added for distillation of logits.
    """

    kd: float
    p1: float
    p2: float

    def of(self, name: str) -> float:
        """The weight of one term."""
        by_start = {"token": 1.0, "distribution": self.kd, "p1": self.p1, "p2": self.p2}
        return by_start[name.split("_")[0]]


@dataclass(frozen=True)
class StepLosses:
    """What a part of a batch adds to the batch's mean of each term, and to the weighted sum; parts add up."""

    terms: Terms[Tensor]
    total_loss: Tensor

    def __add__(self, other: "StepLosses") -> "StepLosses":
        return StepLosses(add_terms(self.terms, other.terms), self.total_loss + other.total_loss)

    def detach(self) -> "StepLosses":
        """The same without the graph, to be kept after the backward pass."""
        return StepLosses(self.terms.map(lambda _, value: value.detach()), self.total_loss.detach())

    def named(self) -> Iterator[tuple[str, float]]:
        """`loss_name` and value of each row of `core_train_steps`; waits for the device."""
        for name, value in [*self.terms.items(), ("total_loss", self.total_loss)]:
            yield name, float(value)


def add_terms(one: Terms[Tensor], other: Terms[Tensor]) -> Terms[Tensor]:
    """The sum of each term: of the weights of a batch's parts those of the batch.

    Args:
        one: terms of one part.
        other: terms of another part of the same batch, hence of the same names.
    """
    added = dict(other.items())
    return one.map(lambda name, value: value + added[name])


def step_losses(part: Terms[Weighted], weights: Terms[Tensor], lambdas: Lambdas) -> StepLosses:
    """A part's share of the loss of the whole batch: its sums over the weights of the batch.

    A batch computed at once or in any parts has the same loss and gradient. A term without weight in the batch is 0.

    Args:
        part: sums of the terms over the part.
        weights: the weight of each of these terms over the whole batch, which depends on the teacher and the masks alone.
        lambdas: weights of the terms in the total.
    """
    by_name = dict(weights.items())
    terms = part.map(lambda name, value: Weighted(value.total, by_name[name]).mean)
    return StepLosses(terms, torch.stack([lambdas.of(name) * value for name, value in terms.items()]).sum())
