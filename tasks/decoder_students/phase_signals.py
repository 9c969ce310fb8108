"""What some heads of a decoder do at the rows of one phase: the same form for the teacher, where it is cached, and the student.

The quantities are those of Saha Roy et al., arXiv 2606.06840, at Q_early (phase 1) and Q_refine (phase 2); rows and places are
those of `tasks.open_models.places`.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class PhaseRows:
    """Which rows of a batch count, and which keys each of them may read; equal for teacher and student.

    Keys are the document's tokens in phase 1, and the candidates named in full before the row in phase 2.
    """

    is_row: Bool[Tensor, "batch row"]
    is_key: Bool[Tensor, "batch row key"]

    def to(self, device: torch.device | str) -> "PhaseRows":
        """The same on a device."""
        return PhaseRows(self.is_row.to(device), self.is_key.to(device))


@dataclass(frozen=True)
class PhaseSignals:
    """What the chosen heads do at these rows, in float32; rows and keys that do not count hold zeros.

    Phase 1: `reading` is the attention to the document's tokens, scaled to sum 1 over them; `mass` is the share of all attention
    that goes to anchors; `effect` is cos(Delta(q), c_anchor), anchor alignment.
    Phase 2: `reading` is the attention to each earlier candidate, scaled to sum 1 over them; `mass` is QK-refinement: attention
    to a kept candidate minus to a dropped one, means per candidate; `effect` is OV-helpfulness, <Delta(q), grad margin(q)> in
    logits, the gradient taken as a constant.
    `writes` is Delta(q), the head's write into the residual stream, of the model's own width.
    """

    reading: Float[Tensor, "batch head row key"]
    writes: Float[Tensor, "batch head row d_model"]
    mass: Float[Tensor, "batch head row"]
    effect: Float[Tensor, "batch head row"]

    @property
    def interaction(self) -> Float[Tensor, "batch head row"]:
        """Reading times writing, the product that CoarseScore and RefineScore are means of (kurtosis replaced by `mass`)."""
        return self.mass * self.effect

    def heads(self, chosen: Tensor) -> "PhaseSignals":
        """The same of some heads, in the order of `chosen`."""
        return PhaseSignals(*(getattr(self, field.name)[:, chosen] for field in fields(self)))

    def to(self, device: torch.device | str) -> "PhaseSignals":
        """The same on a device."""
        return PhaseSignals(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Weighted:
    """A sum of loss values and the sum of their weights: parts of a batch add up to exactly the whole."""

    total: Tensor
    weight: Tensor

    @property
    def mean(self) -> Tensor:
        """The weighted mean; 0 where nothing has weight."""
        return self.total / self.weight.clamp(min=torch.finfo(self.total.dtype).tiny)
