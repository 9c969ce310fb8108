"""Loss terms of decoder students: sums and weights, so that the parts of a batch add up to exactly the whole.

What a head imitates is that of Saha Roy et al., arXiv 2606.06840; the divergences are ours where the paper gives no formula.
Teacher and student hold matched heads in the same order. Every term compares the two by the same arithmetic on both sides, so
that it and its gradient are exactly 0 where they agree. What is masked is taken out before any arithmetic: it may hold anything,
and its gradient is exactly 0. Weights depend on the teacher and the masks alone, so a batch's are known before the student runs.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tasks.decoder_students.phase_signals import PhaseRows, PhaseSignals, Weighted

LEAST_SHARE = 1e-16
"""Shares of attention below this count as this (37 nats): its reciprocal has room in float32 on the way back to the scores."""
SILENT = 1e-6
"""A write shorter than this has no direction: the gradient of a cosine is the larger the shorter the write, here up to 1e6."""


def reading_loss(student: PhaseSignals, teacher: PhaseSignals, rows: PhaseRows) -> Weighted:
    """KL(teacher reading || student reading), in nats, mean over heads and rows that have a key; 0 or above.

    sum over keys k of t_k (log t_k - log s_k), t and s scaled to sum 1 over the keys once more: a cache of 16 bits rounds them.

    Args:
        student: of the matched heads, `reading` [batch, head, row, key].
        teacher: the same of the teacher's heads, a constant.
        rows: a row without a key has no weight, nor one at which the teacher's head reads none.

    Source: L_attn of phase 1 (keys: the document's tokens) and L_loop of phase 2 (keys: the candidates named before) of Saha Roy
    et al., arXiv 2606.06840; the divergence of attention as Wang et al. 2020 (MiniLM, section 3.1).
    """
    keys = _keys(rows)
    aimed, read = _shares(teacher.reading, keys), _shares(student.reading, keys)
    values = aimed * (aimed.clamp(min=LEAST_SHARE).log() - read.clamp(min=LEAST_SHARE).log())
    return Weighted(values.sum(), reading_weight(teacher, rows))


def reading_weight(teacher: PhaseSignals, rows: PhaseRows) -> Tensor:
    """The weight of `reading_loss`: heads times rows at which there is something to read and the teacher's head reads it."""
    keys = _keys(rows)
    return (_without(teacher.reading, keys).sum(-1) > 0).sum().to(teacher.reading.dtype)


def write_loss(writes: Float[Tensor, "batch head row d_teacher"], teacher: PhaseSignals, rows: PhaseRows) -> Weighted:
    """1 - cos(student write, teacher write), mean over heads and rows weighted by the teacher's positive effect; from 0 to 2.

    Computed as |u - v|^2 / 2 of the two unit vectors, which is the same and exact where they agree. The weight is the teacher's
    `effect`: anchor alignment in phase 1, widening of the margin in logits in phase 2; what a head writes without, or against,
    that effect is not imitated. A student's head that writes nothing points nowhere: its cosine is 0, its loss 1, and it gets no
    gradient, as no direction is better than another. A teacher's head that writes nothing has no weight.

    Args:
        writes: the student's, projected to the teacher's width.
        teacher: `writes` of the same shape, and `effect` [batch, head, row]; constants.
        rows: those that count.

    Source: L_write of both phases of Saha Roy et al., arXiv 2606.06840 (anchor-aligned and margin-widening writes).
    """
    weights = _write_weights(teacher, rows)
    counts = (weights > 0)[..., None]
    written, is_silent = _directions(_without(writes, counts))
    aimed, _ = _directions(_without(teacher.writes, counts))
    apart = (written - aimed).square().sum(-1) / 2
    values = torch.where(is_silent, torch.ones_like(apart), apart)
    return Weighted((weights * values).sum(), weights.sum())


def write_weight(teacher: PhaseSignals, rows: PhaseRows) -> Tensor:
    """The weight of `write_loss`: the sum of the teacher's positive effects."""
    return _write_weights(teacher, rows).sum()


def interaction_loss(student: PhaseSignals, teacher: PhaseSignals, rows: PhaseRows, scale: Float[Tensor, " head"]) -> Weighted:
    """2 (sqrt(1 + x^2) - 1), x = (student interaction - teacher interaction) / scale; mean over heads and rows that have a key.

    No unit, 0 or above; x^2 where they are close, 2 |x| where they are far.

    The paper leaves L_inter open. This form, because `interaction` is the product whose mean ranks heads: reading and writing may
    each be right on average, yet at different rows, which L_attn and L_write apart do not see. It is one number a row, so widths
    need no projection; relative to the teacher head's own size, so that the term is of order 1 whatever the model. It grows no
    faster than |x|: heads of an untrained student may interact six times as strongly as the teacher's, and the plain square then
    is larger than all other terms together, and made students worse than plain CoT.

    Args:
        student: `mass` and `effect` [batch, head, row].
        teacher: the same, constants.
        rows: a row without a key has no weight: nothing is read there.
        scale: root mean square of each teacher head's interaction over the cached documents (`cached_signals.interaction_scale`);
            a head of scale 0 has no weight.

    Source: pseudo-Huber loss, Charbonnier et al. 1994, of the factors of CoarseScore and RefineScore (arXiv 2606.06840).
    """
    counts = _counted(rows, scale)
    divisor = torch.where(scale > 0, scale, torch.ones_like(scale))[:, None]
    apart = _without(student.mass, counts) * _without(student.effect, counts) - _without(teacher.interaction, counts)
    far = (apart / divisor).square()
    return Weighted((2 * far / (1 + (1 + far).sqrt())).sum(), interaction_weight(rows, scale))  # exact near 0, unlike sqrt - 1


def interaction_weight(rows: PhaseRows, scale: Float[Tensor, " head"]) -> Tensor:
    """The weight of `interaction_loss`: heads that have a scale times rows that have a key."""
    return _counted(rows, scale).sum().to(scale.dtype)


def distribution_loss(
    logits: Float[Tensor, "target token"], top_ids: Int[Tensor, "target k"], top_log_probs: Float[Tensor, "target k"]
) -> Weighted:
    """KL(teacher || student) over the teacher's k likeliest tokens, in nats, mean over targets; 0 or above.

    Both sides are scaled to sum 1 over these tokens, so k = 1 teaches nothing, and tokens outside are left to the cross entropy.

    Args:
        logits: the student's, before the tokens to predict.
        top_ids: the teacher's likeliest tokens there.
        top_log_probs: their log probabilities up to a constant a row; -inf has no share.

    Source: Hinton et al. 2015, equation 1 at temperature 1, cut to the likeliest tokens.
    """
    aimed = _at_least_float32(top_log_probs).log_softmax(-1)
    apart = aimed - _at_least_float32(logits.gather(-1, top_ids)).log_softmax(-1)
    values = aimed.exp() * torch.where(aimed.isfinite(), apart, torch.zeros_like(apart))
    return Weighted(values.sum(), values.new_tensor(len(top_ids)))


def _keys(rows: PhaseRows) -> Bool[Tensor, "batch 1 row key"]:
    return (rows.is_key & rows.is_row[..., None])[:, None]


def _counted(rows: PhaseRows, scale: Tensor) -> Bool[Tensor, "batch head row"]:
    return _keys(rows).any(-1) & (scale > 0)[:, None]


def _without(values: Tensor, keep: Tensor) -> Tensor:
    """Zeros where nothing is kept, with a gradient of exactly 0 whatever stood there: a product with a mask would keep NaN."""
    return torch.where(keep, values, torch.zeros_like(values))


def _shares(reading: Tensor, keys: Tensor) -> Tensor:
    kept = _without(reading, keys)
    return kept / kept.sum(-1, keepdim=True).clamp(min=LEAST_SHARE)


def _write_weights(teacher: PhaseSignals, rows: PhaseRows) -> Float[Tensor, "batch head row"]:
    _, is_silent = _directions(teacher.writes)
    return _without(teacher.effect.clamp(min=0), rows.is_row[:, None] & ~is_silent)


def _directions(writes: Tensor) -> tuple[Tensor, Bool[Tensor, "batch head row"]]:
    """Unit vectors, and which writes have none; of those the length is left out of the graph, as its slope at 0 is endless."""
    squares = writes.square().sum(-1)
    is_silent = ~(squares > SILENT**2)
    lengths = torch.where(is_silent, torch.ones_like(squares), squares).sqrt()
    return writes / lengths[..., None], is_silent


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
