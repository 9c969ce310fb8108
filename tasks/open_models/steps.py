"""What trainings of decoders share: optimiser, learning rate by step, and losses by phase."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tasks.open_models.lessons import PHASES

WARM_FRAC = 0.1
MAX_NORM = 1.0
BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class StepLoss:
    """One term of the loss at one step, in nats a token."""

    train_step: int
    loss_name: str
    loss_nats: float


def make_optimiser(weights: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW; norms do not decay."""
    every = list(weights)
    groups = [
        {"params": [one for one in every if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in every if one.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS)


def one_cycle(step: int, step_count: int) -> float:
    """Share of the peak learning rate: a straight rise over the first tenth, then half a cosine down to nearly 0."""
    warm = max(1, round(WARM_FRAC * step_count))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - warm) / max(1, step_count - warm + 1)))


def by_phase(nats: Tensor, phases: Tensor, step: int, prefix: str = "") -> Iterator[StepLoss]:
    """Mean by phase, where it has a token, and over all."""
    for place, phase in enumerate(PHASES):
        inside = nats[phases == place]
        if len(inside):
            yield StepLoss(step, f"{prefix}{phase}_loss", float(inside.mean()))
    yield StepLoss(step, f"{prefix}total_loss", float(nats.mean()))
