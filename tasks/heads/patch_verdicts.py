"""What patching says of the paper's causal claims: are the top heads of a phase sufficient, are they necessary.

The rule, with the largest bin that has controls: how far the top set moves its quantity, in the direction of the claim, less how
far the random sets do on average, by document. *Holds*: the interval of that excess lies above 0, and so does that over the
low-ranked set, and the top set moves further than 95% of the random sets. *Fails*: the excess is surely less than a tenth of the
distance between the clean and the corrupted run. *Undecided*: neither; or the two runs do not differ; or not even all heads
together go a tenth of the way, so that nothing can be told by patching this part under this corruption.

Source of the claims: Saha Roy et al., arXiv 2606.06840.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from schemas.config import HeadsConfig
from tasks.heads.effects import Means, PatchTable, patch_tables, ratio, resampled_means
from tasks.heads.patch_plan import PHASE_SCORES, PatchPlan
from tasks.heads.resampling import HIGH, LOW, draw_weights
from tasks.heads.verdicts import Verdict

LEAST_SHARE = 0.1
"""An excess of less than this share of the distance between the runs is no effect that a claim could rest on."""

QUANTITY_SIGNS = {"margin": 1.0, "focus": 1.0, "confusion": -1.0}
"""Whether the clean run is to have more of a quantity, or less."""

SCORE_WORDS = {"coarse_score": "CoarseScore", "refine_score": "RefineScore"}
UNITS = {"margin": " logits", "focus": "", "confusion": ""}

ByDocument = Float[np.ndarray, " document"]


@dataclass(frozen=True)
class _Claim:
    phase: str
    quantity: str
    direction: str

    @property
    def name(self) -> str:
        kind = "sufficient" if self.direction == "denoise" else "necessary"
        return f"{self.phase}_heads_{kind}" + ("" if self.quantity == "margin" else f"_{self.quantity}")

    @property
    def words(self) -> str:
        score = SCORE_WORDS[{str(phase): score for phase, score in PHASE_SCORES.items()}[self.phase]]
        verb = "restore" if self.direction == "denoise" else "destroy"
        what = "the margin" if self.quantity == "margin" else f"{self.quantity.title()} of what is generated"
        return f"the top {score} heads {verb} {what}"


CLAIMS = tuple(
    _Claim(phase, quantity, direction)
    for phase, quantities in (("shortlist", ("margin", "focus")), ("refine", ("margin", "confusion")))
    for quantity in quantities
    for direction in ("denoise", "noise")
)


def patch_verdicts(values: pl.DataFrame, plan: PatchPlan, settings: HeadsConfig) -> list[Verdict]:
    """One verdict a phase, quantity and direction.

    Args:
        values: rows of `PATCH_VALUES` of all blocks.
        plan: which documents were patched.
        settings: what was patched, resamples, seed.
    """
    tables = {(table.phase, table.quantity): table for table in patch_tables(values)}
    return [_verdict(claim, tables.get((claim.phase, claim.quantity)), plan, settings) for claim in CLAIMS]


@dataclass(frozen=True)
class _Moves:
    """How far each set moves the quantity in the claim's direction, by document; `distance` is how far the runs are apart."""

    top: ByDocument
    low: ByDocument
    random: Float[np.ndarray, "document draw"]
    distance: ByDocument
    every: ByDocument
    """With all heads."""
    head_count: int


def _moves(claim: _Claim, table: PatchTable) -> _Moves | None:
    """Of the largest bin, the documents that have a value for the top, the low, some random set and all heads; null below two."""
    sign, columns = QUANTITY_SIGNS[claim.quantity], table.columns.with_row_index("place")
    columns = columns.filter(pl.col("direction") == claim.direction)
    sizes = [int(size) for size in columns.filter(pl.col("head_set") == "low")["head_count"]]
    largest = max(sizes, default=0)
    ours = columns.filter(pl.col("head_count") == largest)
    start = table.corrupted if claim.direction == "denoise" else table.clean
    moved = sign * (table.value - start) * (1 if claim.direction == "denoise" else -1)
    places = {name: ours.filter(pl.col("head_set") == name)["place"].to_list() for name in ("top", "low", "random")}
    places["every"] = columns.filter(pl.col("head_count") > largest)["place"].to_list()
    if not all(places.values()):
        return None
    top, low, every = (moved[:, places[name][0]] for name in ("top", "low", "every"))
    random = moved[:, places["random"]]
    is_known = np.isfinite(top) & np.isfinite(low) & np.isfinite(every) & np.isfinite(random).any(axis=1)
    if is_known.sum() < 2:
        return None
    distance = sign * (table.clean - table.corrupted)[:, places["top"][0]]
    return _Moves(top[is_known], low[is_known], random[is_known], distance[is_known], every[is_known], largest)


@dataclass(frozen=True)
class _Measured:
    """Means of one claim with everything that its sentence says; columns of `excess` and `share` are over random, over low."""

    excess: Means
    share: Means
    distance: Means
    top_share: Means
    every_share: Means
    drawn_share: Float[np.ndarray, " draw"]
    low_share: float
    beats_draws: bool


def _measure(moves: _Moves, settings: HeadsConfig) -> _Measured:
    random = np.nanmean(moves.random, axis=1)
    columns = np.stack([moves.top - random, moves.top - moves.low, moves.top, moves.low, moves.every, moves.distance], axis=1)
    weights = draw_weights(len(columns), settings.bootstrap_count, settings.seed)
    means = resampled_means(columns, weights)
    distance = Means(means.observed[5:], means.drawn[:, 5:])
    excess = Means(means.observed[:2], means.drawn[:, :2])
    share = means / distance
    draws = np.nanmean(moves.random, axis=0)
    beats = bool(means.observed[2] > np.percentile(draws, HIGH))
    top_share, every_share = (Means(share.observed[at : at + 1], share.drawn[:, at : at + 1]) for at in (2, 4))
    over = Means(share.observed[:2], share.drawn[:, :2])
    return _Measured(
        excess, over, distance, top_share, every_share, ratio(draws, distance.observed), float(share.observed[3]), beats
    )


def _verdict(claim: _Claim, table: PatchTable | None, plan: PatchPlan, settings: HeadsConfig) -> Verdict:
    moves = _moves(claim, table) if table else None
    if moves is None:
        reason = f"fewer than two documents have values with top, low and random heads patched: {_documents_text(claim, plan)}"
        return Verdict(claim.name, "not_measured", f"Not measured whether {claim.words} ({reason}).", None, None, None, 0)
    found = _measure(moves, settings)
    lows, highs = found.excess.interval()
    apart_low, apart_high = (float(end[0]) for end in found.distance.interval())
    standing = _standing(found, lows)
    numbers = _numbers(claim, moves.head_count, found)
    if apart_low <= 0:
        numbers = (
            f"clean and corrupted runs differ by {_between(float(found.distance.observed[0]), apart_low, apart_high)}"
            f"{UNITS[claim.quantity]}, which is nothing to restore or destroy"
        )
    words = {"holds": "Holds:", "fails": "Fails: it is not so that", "undecided": "Undecided whether"}
    about = f"{len(moves.top)} documents; {settings.corruption}, {settings.patched_part} patched"
    if claim.phase == "refine":
        what = "shortlist corrupted too" if settings.corrupts_shortlist else "only the document corrupted"
        about += f"; {what}; {_documents_text(claim, plan)}"
    sentence = f"{words[standing]} {claim.words} ({numbers}; {about})."
    observed, low, high = (float(ends[0]) for ends in (found.excess.observed, lows, highs))
    return Verdict(claim.name, standing, sentence, observed, low, high, len(moves.top))


def _standing(found: _Measured, lows: Float[np.ndarray, " control"]) -> str:
    if found.distance.interval()[0][0] <= 0:
        return "undecided"
    if found.every_share.interval()[1][0] < LEAST_SHARE:
        return "undecided"
    if found.share.interval()[1][0] < LEAST_SHARE:
        return "fails"
    return "holds" if lows.min() > 0 and found.beats_draws else "undecided"


def _numbers(claim: _Claim, head_count: int, found: _Measured) -> str:
    (top_low,), (top_high,) = found.top_share.interval()
    spread = np.percentile(found.drawn_share, (LOW, HIGH))
    lows, highs = found.excess.interval()
    top = f"{_percent(found.top_share.observed[0])} [{_percent(top_low)}, {_percent(top_high)}]"
    draws = f"95% of {len(found.drawn_share)} draws: {_percent(spread[0])} to {_percent(spread[1])}"
    random, low = _percent(found.drawn_share.mean()), _percent(found.low_share)
    every = _percent(found.every_share.observed[0])
    excess = _between(float(found.excess.observed[0]), float(lows[0]), float(highs[0]))
    return (
        f"{head_count} {'head' if head_count == 1 else 'heads'} {top} of the distance between the runs, as many random ones "
        f"{random} ({draws}), low-ranked ones {low}, all heads together {every}; top minus random {excess}{UNITS[claim.quantity]}"
    )


def _documents_text(claim: _Claim, plan: PatchPlan) -> str:
    return plan.refinement_text if claim.phase == "refine" else f"{len(plan.cases['shortlist'])} documents"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _between(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
