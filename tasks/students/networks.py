"""The two parts of a student. Neither has a weight of its own for a label, so labels may come and go after training."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

EVIDENCE_WEIGHTS = (7.0, 7.0, 7.0, 7.0, 7.0)
"""Weight of each kind of evidence (0 to 1) at the start, in nats."""

REFINER_HIDDEN = 64


class Shortlister(nn.Module):
    """Scores all labels: cosine of the moved document vector over a temperature, plus weighted evidence.

    The document vector is moved by a residual two-layer network that starts at zero; label vectors stay as they are.
    """

    def __init__(self, d_model: int, evidence_weights: Sequence[float], temperature: float, generator: torch.Generator) -> None:
        """Draw the weights with `generator`."""
        super().__init__()
        self.widen = nn.Linear(d_model, d_model)
        self.narrow = nn.Linear(d_model, d_model)
        _start((self.widen,), self.narrow, generator)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.log_weights = nn.Parameter(torch.tensor(evidence_weights).log())

    def move(self, documents: Tensor) -> Tensor:
        """The document vectors moved to where their labels are, unit vectors [document, d_model]."""
        moved: Tensor = normalize(documents + self.narrow(gelu(self.widen(documents))), dim=1)
        return moved

    def forward(self, documents: Tensor, labels: Tensor, evidence: Tensor) -> Tensor:
        """Scores [document, label] in nats up to a constant.

        Args:
            documents: unit vectors [document, d_model].
            labels: unit vectors [label, d_model].
            evidence: [kind, document, label], each 0 to 1.
        """
        moved = self.move(documents)
        weighted = (self.log_weights.exp() @ evidence.flatten(1)).view(evidence.shape[1:])
        scores: Tensor = moved @ labels.T * self.log_scale.exp() + weighted
        return scores


class Refiner(nn.Module):
    """Rescores a shortlist: the shortlister's score plus a small network over the candidate's features."""

    mean: Tensor
    spread: Tensor

    def __init__(self, feature_count: int, generator: torch.Generator) -> None:
        """Draw the weights with `generator`; before training it repeats the shortlister."""
        super().__init__()
        self.widen = nn.Linear(feature_count, REFINER_HIDDEN)
        self.narrow = nn.Linear(REFINER_HIDDEN, 1)
        _start((self.widen,), self.narrow, generator)
        self.register_buffer("mean", torch.zeros(feature_count))
        self.register_buffer("spread", torch.ones(feature_count))

    def scale_to(self, features: Tensor, is_candidate: Tensor) -> None:
        """Remember mean and spread of the training features [document, candidate, feature], of candidates only."""
        seen = features[is_candidate]
        self.mean.copy_(seen.mean(dim=0))
        self.spread.copy_(seen.std(dim=0).clamp(min=1e-3))

    def forward(self, scores: Tensor, features: Tensor) -> Tensor:
        """Scores [document, candidate] in nats up to a constant.

        Args:
            scores: the shortlister's [document, candidate].
            features: [document, candidate, feature], not yet scaled.
        """
        scaled = (features - self.mean) / self.spread
        refined: Tensor = scores + self.narrow(gelu(self.widen(scaled))).squeeze(-1)
        return refined


def _start(drawn: Sequence[nn.Linear], last: nn.Linear, generator: torch.Generator) -> None:
    """Draw the first layers as PyTorch does, set biases and the last layer to zero."""
    for layer in drawn:
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
