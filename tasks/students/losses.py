"""Loss terms of the students, each a Kullback-Leibler divergence: 0 where the student agrees with its supervision.

Positions that are masked take no part and get no gradient.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

SURE_FRAC = 0.9
"""How often a verdict of the teacher is taken to be right."""


def listwise_loss(scores: Tensor, target: Tensor, is_candidate: Tensor) -> Tensor:
    """Mean KL(target || softmax(scores)) over the documents that have a target, in nats per document.

    Args:
        scores: [document, label], any real numbers.
        target: [document, label], not negative; each row is scaled to sum 1, a row without mass is left out.
        is_candidate: [document, label]; False cells are no candidates, they must have no target mass.

    Returns:
        At least 0; exactly 0 when softmax(scores) equals the target on the candidates, or when no row has mass.

    Source: listwise cross entropy of Cao et al. 2007 (ListNet, section 4), less the target's entropy as in Hinton et al. 2015.
    """
    mass = target.sum(dim=1, keepdim=True)
    share = target / mass.clamp(min=1e-12)
    log_probs = torch.log_softmax(scores.masked_fill(~is_candidate, float("-inf")), dim=1)
    cells = share.nonzero(as_tuple=True)  # few: a document has tens of targets among thousands of labels
    aimed = share[cells]
    return (aimed * (aimed.log() - log_probs[cells])).sum() / (mass > 0).sum().clamp(min=1)


def verdict_loss(scores: Tensor, is_kept: Tensor, is_dropped: Tensor, sure_frac: float = SURE_FRAC) -> Tensor:
    """Mean KL(verdict || sigmoid(kept - dropped score)) in nats: over the pairs of a document, then over documents with pairs.

    Args:
        scores: [document, candidate].
        is_kept: [document, candidate]; every kept candidate is compared with every dropped one.
        is_dropped: [document, candidate].
        sure_frac: probability that the kept one is the better of the two, above 0.5 and below 1.

    Returns:
        At least 0; exactly 0 when every margin is logit(sure_frac) (2.2 nats at 0.9), or when there is no pair.

    Source: pairwise logistic loss of Burges et al. 2005 (RankNet, section 3), with a soft target, less its entropy.
    """
    margin = scores[:, :, None] - scores[:, None, :]  # [document, kept, dropped]
    agree = sure_frac * (math.log(sure_frac) - logsigmoid(margin))
    differ = (1 - sure_frac) * (math.log(1 - sure_frac) - logsigmoid(-margin))
    is_pair = is_kept[:, :, None] & is_dropped[:, None, :]
    pair_count = is_pair.sum(dim=(1, 2))
    by_document = torch.where(is_pair, agree + differ, torch.zeros_like(margin)).sum(dim=(1, 2)) / pair_count.clamp(min=1)
    return by_document.sum() / (pair_count > 0).sum().clamp(min=1)
