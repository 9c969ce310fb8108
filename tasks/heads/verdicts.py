"""What the scores say of the paper's claims on heads, each as a sentence with its numbers; any of them can fail.

Source of the claims: Saha Roy et al., arXiv 2606.06840.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float

from tasks.heads.dynamics import top_heads
from tasks.heads.resampling import mean_intervals
from tasks.heads.summaries import Summary

TOP_SHARE = 0.05
"""Of the heads, those whose mean layer a verdict names beside the correlation."""


@dataclass(frozen=True)
class Verdict:
    """One row of `out_verdicts` without run, dataset and system; numbers are null if nothing was measured."""

    claim: str
    standing: str
    sentence_text: str
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    document_count: int


@dataclass(frozen=True)
class _Claim:
    """A claim on the sign of a number."""

    name: str
    says: str
    sign: int


ORDER_CLAIMS = {
    "coarse_score": _Claim("early_heads_shortlist", "shortlisting heads (CoarseScore) stand in early layers", -1),
    "refine_score": _Claim("late_heads_refine", "refinement heads (RefineScore) stand in later layers", +1),
}
DYNAMICS_CLAIMS = {
    "shortlist_attention_frac": _Claim(
        "kept_attention_rises", "the top refinement heads attend more to a kept candidate later in the refinement", +1
    ),
    "near_miss_attention_frac": _Claim(
        "dropped_attention_falls", "the top refinement heads attend less to a dropped candidate later in the refinement", -1
    ),
    "ov_helpfulness": _Claim(
        "ov_helpfulness_grows", "what the top refinement heads write widens the margin more later in the refinement", +1
    ),
}


def order_verdicts(profiles: Sequence[Summary], scores: pl.DataFrame) -> list[Verdict]:
    """Whether coarse heads stand early and refinement heads late: Spearman's correlation of layer and score, and the top heads.

    The correlation decides; it holds only if the heads of highest score stand on that side of the middle too.

    Args:
        profiles: of `head_profiles`.
        scores: `core_head_scores` of one model.
    """
    return [_order_verdict(name, claim, profiles, scores) for name, claim in ORDER_CLAIMS.items()]


def _order_verdict(name: str, claim: _Claim, profiles: Sequence[Summary], scores: pl.DataFrame) -> Verdict:
    found = {one.summary: one for one in profiles if one.score_name == name}
    order = found.get("layer_order")
    if order is None:
        reason = "no two documents have the score, or it is the same for all heads, or there is one layer"
        return _not_measured(claim, reason)
    top = top_heads(scores, name, max(1, round(TOP_SHARE * len(scores))))
    top_layer = np.mean([layer for layer, _ in top])
    every = scores["layer"].to_numpy().mean()
    reliability = f"; split-half reliability {found['split_half'].value:.2f}" if "split_half" in found else ""
    numbers = (
        f"Spearman of layer and score {_interval(order.value, order.ci_low, order.ci_high, 2)} over {len(scores)} heads and "
        f"{order.document_count} documents; mean layer of the top {len(top)} is {top_layer:.1f}, of all {every:.1f}{reliability}"
    )
    found_verdict = _verdict(claim, numbers, order.value, order.ci_low, order.ci_high, order.document_count)
    if found_verdict.standing != "holds" or claim.sign * (top_layer - every) > 0:
        return found_verdict
    sentence = f"Undecided whether {claim.says}: scores are ordered so, but the top heads stand on the other side ({numbers})."
    return replace(found_verdict, standing="undecided", sentence_text=sentence)


def dynamics_verdicts(
    differences: Mapping[str, Float[np.ndarray, " document"]], head_count: int, resample_count: int, seed: int
) -> list[Verdict]:
    """How the top refinement heads change from the earlier to the later half of the refinement.

    Args:
        differences: of `late_minus_early`.
        head_count: heads that were followed.
        resample_count: resamples of the intervals.
        seed: draws them.
    """
    found = []
    for name, claim in DYNAMICS_CLAIMS.items():
        values = differences[name]
        if len(values) < 2:
            found.append(_not_measured(claim, f"{len(values)} document(s) have two refinement steps that can be measured"))
            continue
        low, high = (float(end[0]) for end in mean_intervals(values[:, None], resample_count, seed))
        mean = float(values.mean())
        unit = " logits" if name == "ov_helpfulness" else ""
        numbers = f"later minus earlier half {_interval(mean, low, high, 4)}{unit}, {head_count} heads, {len(values)} documents"
        found.append(_verdict(claim, numbers, mean, low, high, len(values)))
    return found


def _verdict(claim: _Claim, numbers: str, value: float, low: float, high: float, document_count: int) -> Verdict:
    """Holds or fails where the interval lies on one side of 0."""
    ends = sorted((claim.sign * low, claim.sign * high))
    standing = "holds" if ends[0] > 0 else "fails" if ends[1] < 0 else "undecided"
    words = {
        "holds": f"Holds: {claim.says}",
        "fails": f"Fails: it is not so that {claim.says}, the opposite is seen",
        "undecided": f"Undecided, as the interval holds 0, whether {claim.says}",
    }
    sentence = f"{words[standing]} ({numbers})."
    return Verdict(claim.name, standing, sentence, value, low, high, document_count)


def _not_measured(claim: _Claim, reason: str) -> Verdict:
    return Verdict(claim.name, "not_measured", f"Not measured whether {claim.says} ({reason}).", None, None, None, 0)


def _interval(value: float, low: float, high: float, digits: int) -> str:
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
