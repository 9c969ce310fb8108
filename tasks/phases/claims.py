"""Claims about the two phases, each judged by the interval of a paired difference and said in a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.phases.curves import Pair
from tasks.phases.intervals import Mean, mean_intervals
from tasks.phases.variants import (
    ANSWER_F1,
    ANSWER_PRECISION,
    LIST_ALONE,
    ON_INDEX,
    ON_OWN,
    ON_STRANGER,
    SHORTLIST_PRECISION,
    SHORTLIST_RECALL,
    WHOLE,
    Difference,
    VariantScores,
)

MIN_DOCUMENTS = 10
"""Fewer give no verdict: a percentile interval of so few documents is too narrow."""

HOLDS, FAILS, UNDECIDED, NOT_MEASURED = "holds", "fails", "undecided", "not_measured"
ADVICE = (
    "set teacher.variants to both, phase-1, phase-2-teacher, phase-2-index and phase-2-stranger (teacher.variant_documents "
    "bounds the cost), then run trace, parse and characterize again"
)
OPENINGS = {
    "focus_early": (
        "shortlisting is closer to the document than refining",
        "shortlisting is not closer to the document than refining",
    ),
    "confusion_late": ("confusion falls while refining", "confusion does not fall while refining"),
    "refinement_helps": ("refining makes the list more precise", "refining does not make the list more precise"),
    "isolated": ("each phase works as well when it is asked for alone", "the phases do not work as well when asked for alone"),
    "complementary": ("each phase adds to the other", "the phases do not both add to each other"),
}
"""Each claim as it is said where it holds and where it fails."""


@dataclass(frozen=True)
class Asked:
    """Whose traces they are, how intervals are drawn, and the share of a value that two equal ones may differ by."""

    teacher: str
    resample_count: int
    seed: int
    equal_frac: float


@dataclass(frozen=True)
class Verdict:
    """What the measurements say of one claim; `mean` is the difference that decided, null where nothing was measured."""

    claim: str
    standing: str
    sentence: str
    mean: Mean | None


@dataclass(frozen=True)
class Part:
    """One difference of a claim: what it is of, in words, how it stands, and by how much it is on the claim's side."""

    words: str
    mean: Mean
    standing: str
    support: float


def above_zero(mean: Mean) -> str:
    """How a claim of a positive difference stands: by the whole interval, and open below `MIN_DOCUMENTS`."""
    if mean.document_count < MIN_DOCUMENTS or mean.low <= 0 <= mean.high:
        return UNDECIDED
    return HOLDS if mean.low > 0 else FAILS


def within(mean: Mean, margin: float) -> str:
    """How a claim of equal means stands: it holds if the whole interval is within the margin, fails if it is all outside.

    Source: equivalence by confidence interval, Schuirmann 1987; with a 95% interval, stricter than its usual 90%.
    """
    if mean.document_count >= MIN_DOCUMENTS and -margin <= mean.low and mean.high <= margin:
        return HOLDS
    is_outside = mean.low > margin or mean.high < -margin
    return FAILS if mean.document_count >= MIN_DOCUMENTS and is_outside else UNDECIDED


def is_above(words: str, mean: Mean) -> Part:
    """A part that claims a positive difference."""
    return Part(words, mean, above_zero(mean), mean.low)


def is_equal(words: str, mean: Mean, margin: float) -> Part:
    """A part that claims equal means."""
    return Part(words, mean, within(mean, margin), margin - max(-mean.low, mean.high))


def negated(mean: Mean) -> Mean:
    """The same comparison the other way round."""
    return Mean(0.0 - mean.value, 0.0 - mean.high, 0.0 - mean.low, mean.p_value, mean.document_count)


def focus_early(pairs: Sequence[Pair], asked: Asked) -> Verdict:
    """Focus of shortlisting steps minus that of refinement steps, positive; pairs are (shortlisting, refinement)."""
    if not pairs:
        return _unmeasured("focus_early", asked, "no test document has a trace that both shortlists and refines")
    (mean,), (early, late) = _differences(pairs, asked, sign=-1), np.mean(pairs, axis=0)
    words = f"its shortlisting steps have a Focus of {early:.3f}, its refinement steps {late:.3f}, difference {_number(mean)}"
    return _verdict("focus_early", [is_above(words, mean)], asked)


def confusion_late(pairs: Sequence[Pair], asked: Asked) -> Verdict:
    """Confusion of the later half of the refinement steps minus the earlier half's, negative; pairs are (earlier, later)."""
    if not pairs:
        return _unmeasured("confusion_late", asked, "no test document has a known target and two refinement steps")
    (mean,), (early, late) = _differences(pairs, asked, sign=1), np.mean(pairs, axis=0)
    words = f"Confusion is {early:.3f} in the first half of its refinement steps and {late:.3f} in the second, difference "
    falls = negated(mean)
    return _verdict("confusion_late", [Part(words + _number(mean), mean, above_zero(falls), falls.low)], asked)


def refinement_helps(scores: VariantScores, asked: Asked) -> Verdict:
    """Precision of the answers minus precision of the shortlist, both phases in one answer, positive."""
    if not scores.document_count:
        return _unmeasured("refinement_helps", asked, "no test document has a known target and a usable trace")
    listed, answered = (scores.values[WHOLE, metric] for metric in (SHORTLIST_PRECISION, ANSWER_PRECISION))
    (mean,) = mean_intervals([answered - listed], asked.resample_count, asked.seed)
    shares = f"{100 * listed.mean():.1f}% of the labels it shortlists and {100 * answered.mean():.1f}% of those it answers"
    words = f"{shares} are targets, difference {_points(mean)}"
    return _verdict("refinement_helps", [is_above(words, mean)], asked)


def isolated(scores: VariantScores, differences: Mapping[Difference, Mean], asked: Asked) -> Verdict:
    """Phase 1 alone finds as good a shortlist, and phase 2 alone on it answers as well, as both phases in one answer."""
    wanted = ((LIST_ALONE, WHOLE, SHORTLIST_RECALL), (ON_OWN, WHOLE, ANSWER_F1))
    if not differences.keys() >= set(wanted):
        return _unmeasured("isolated", asked, _missing(scores, (WHOLE, LIST_ALONE, ON_OWN)))
    (alone, whole), (answers, together) = (_percents(scores, key) for key in wanted)
    found, kept = (differences[key] for key in wanted)
    lists = f"phase 1 alone shortlists {alone}% of the targets, both phases in one answer {whole}%, difference {_points(found)}"
    rest = f"phase 2 alone on that shortlist answers with an F1 of {answers}, both {together}, difference {_points(kept)}"
    margins = [asked.equal_frac * float(scores.values[WHOLE, metric].mean()) for _, _, metric in wanted]
    parts = [is_equal(lists, found, margins[0]), is_equal(rest, kept, margins[1])]
    means = " and ".join(f"{100 * margin:.1f}" for margin in margins)
    note = f" As well means an interval within {means} points: {100 * asked.equal_frac:g}% of what both reach in one answer."
    return _verdict("isolated", parts, asked, note)


def complementary(scores: VariantScores, differences: Mapping[Difference, Mean], asked: Asked) -> Verdict:
    """Phase 2 adds to phase 1 and needs its shortlist, and both in one answer beat each without the other, in F1.

    Phase 2 without phase 1 is phase 2 on the index's shortlist, where that was asked for.
    """
    own, lists, strangers, of_index = (
        differences.get((*key, ANSWER_F1))
        for key in ((ON_OWN, LIST_ALONE), (LIST_ALONE, WHOLE), (ON_OWN, ON_STRANGER), (ON_INDEX, WHOLE))
    )
    if own is None or lists is None or strangers is None:
        return _unmeasured("complementary", asked, _missing(scores, (WHOLE, LIST_ALONE, ON_OWN, ON_STRANGER)))
    compared = [
        ("phase 2 on the teacher's own shortlist minus the first labels of that shortlist", own),
        ("phase 2 on its own shortlist minus phase 2 on a stranger's", strangers),
        ("both in one answer minus phase 1's first labels", negated(lists)),
        *([("both in one answer minus phase 2 on the index's shortlist", negated(of_index))] if of_index is not None else []),
    ]
    parts = [is_above(f"{words}: {_points(mean)}", mean) for words, mean in compared]
    return _verdict("complementary", parts, asked, " Points are of F1, precision and recall in one; each must be above 0.")


def _differences(pairs: Sequence[Pair], asked: Asked, sign: int) -> list[Mean]:
    values = np.asarray(pairs, dtype=np.float64)
    return mean_intervals([sign * (values[:, 1] - values[:, 0])], asked.resample_count, asked.seed)


def _verdict(claim: str, parts: Sequence[Part], asked: Asked, note: str = "") -> Verdict:
    """All parts must hold; one that fails decides, then one that is open; of equals the one nearest to failing."""
    standing = min((part.standing for part in parts), key=(FAILS, UNDECIDED, HOLDS).index)
    deciding = min((part for part in parts if part.standing == standing), key=lambda part: part.support)
    count = parts[0].mean.document_count
    few = f" Fewer than {MIN_DOCUMENTS} documents are too few for a verdict." if count < MIN_DOCUMENTS else ""
    measured = "; ".join(part.words for part in parts)
    documents = f"{count:,} test document{'' if count == 1 else 's'} of {asked.teacher}"
    sentence = f"{_opening(claim, standing)}: on {documents}, {measured}.{note}{few}"
    return Verdict(claim, standing, sentence, deciding.mean)


def _opening(claim: str, standing: str) -> str:
    holds, fails = OPENINGS[claim]
    said = {HOLDS: holds, FAILS: fails}.get(standing, f"it is open whether {holds}")
    return said[0].upper() + said[1:]


def _unmeasured(claim: str, asked: Asked, why: str) -> Verdict:
    return Verdict(claim, NOT_MEASURED, f"Not measured for {asked.teacher} whether {OPENINGS[claim][0]}: {why}.", None)


def _missing(scores: VariantScores, needed: Sequence[str]) -> str:
    missing = [variant for variant in needed if all(variant != asked for asked, _ in scores.values)]
    if not scores.document_count:
        return f"no test document with a known target has a usable trace in every variant that was asked for; {ADVICE}"
    return f"the teacher was not asked for {', '.join(missing)}; {ADVICE}"


def _percents(scores: VariantScores, key: Difference) -> list[str]:
    one, other, metric = key
    return [f"{100 * scores.values[variant, metric].mean():.1f}" for variant in (one, other)]


def _number(mean: Mean) -> str:
    return _with_interval(mean, 1.0, 3, "")


def _points(mean: Mean) -> str:
    return _with_interval(mean, 100.0, 1, " points")


def _with_interval(mean: Mean, scale: float, digits: int, unit: str) -> str:
    value, low, high = (_signed(scale * number, digits) for number in (mean.value, mean.low, mean.high))
    return f"{value}{unit} (95% interval {low} to {high})"


def _signed(number: float, digits: int) -> str:
    """A number with its sign, a true minus; zero after rounding has none."""
    text = f"{number:+.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text[1:]
