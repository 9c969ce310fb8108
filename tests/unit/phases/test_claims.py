import numpy as np
import pytest

from tasks.phases.claims import (
    Asked,
    above_zero,
    complementary,
    confusion_late,
    focus_early,
    isolated,
    negated,
    refinement_helps,
    within,
)
from tasks.phases.intervals import Mean, Values
from tasks.phases.variants import VariantScores, mean_differences

ASKED = Asked("some-model", 200, 0, 0.1)


def mean(low: float, high: float, count: int = 40) -> Mean:
    return Mean((low + high) / 2, low, high, 0.5, count)


@pytest.mark.parametrize(
    ("low", "high", "standing"),
    [(0.01, 0.2, "holds"), (-0.01, 0.2, "undecided"), (-0.2, -0.1, "fails"), (0.0, 0.0, "undecided"), (0.0, 0.1, "undecided")],
)
def test_above_zero_goes_by_the_whole_interval(low: float, high: float, standing: str) -> None:
    assert above_zero(mean(low, high)) == standing
    assert above_zero(mean(low, high, count=9)) == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "standing"),
    [(-0.05, 0.05, "holds"), (-0.06, 0.0, "undecided"), (0.04, 0.2, "undecided"), (0.06, 0.2, "fails"), (-0.2, -0.06, "fails")],
)
def test_within_goes_by_the_whole_interval(low: float, high: float, standing: str) -> None:
    assert within(mean(low, high), 0.05) == standing
    assert within(mean(low, high, count=9), 0.05) == "undecided"


def test_negated_is_the_comparison_the_other_way_round() -> None:
    assert str(negated(Mean(0.0, 0.0, 0.0, 1.0, 7)).value) == "0.0"
    assert negated(Mean(0.1, -0.1, 0.4, 0.3, 7)) == Mean(-0.1, -0.4, 0.1, 0.3, 7)


def test_focus_early_holds_where_shortlisting_is_closer_to_the_document() -> None:
    found = focus_early([(0.5, 0.25)] * 40, ASKED)
    assert (found.claim, found.standing) == ("focus_early", "holds")
    assert found.mean is not None and (found.mean.value, found.mean.low, found.mean.high) == (0.25, 0.25, 0.25)
    assert found.sentence == (
        "Shortlisting is closer to the document than refining: on 40 test documents of some-model, its shortlisting steps have "
        "a Focus of 0.500, its refinement steps 0.250, difference +0.250 (95% interval +0.250 to +0.250)."
    )


def test_focus_early_says_no_and_says_that_it_is_open() -> None:
    assert focus_early([(0.25, 0.5)] * 40, ASKED).sentence.startswith("Shortlisting is not closer to the document than refining:")
    unclear = focus_early([(0.25, 0.5), (0.5, 0.25)] * 20, ASKED)
    assert unclear.standing == "undecided"
    assert unclear.sentence.startswith("It is open whether shortlisting is closer to the document than refining:")


def test_one_document_decides_nothing() -> None:
    found = focus_early([(0.5, 0.25)], ASKED)
    assert found.standing == "undecided"
    assert "on 1 test document of some-model" in found.sentence
    assert found.sentence.endswith("Fewer than 10 documents are too few for a verdict.")


def test_confusion_late_holds_where_it_falls_and_gives_late_minus_early() -> None:
    found = confusion_late([(0.6, 0.5)] * 40, ASKED)
    assert found.standing == "holds"
    assert found.mean is not None and found.mean.value == pytest.approx(-0.1)
    assert (
        "0.600 in the first half of its refinement steps and 0.500 in the second, difference \N{MINUS SIGN}0.100"
        in found.sentence
    )
    assert confusion_late([(0.5, 0.6)] * 40, ASKED).standing == "fails"


@pytest.mark.parametrize("judge", [focus_early, confusion_late])
def test_nothing_measured_has_no_number_and_says_why(judge: object) -> None:
    found = judge([], ASKED)  # type: ignore[operator]
    assert (found.standing, found.mean) == ("not_measured", None)
    assert found.sentence.startswith("Not measured for some-model whether ") and "no test document" in found.sentence


def scores(levels: dict[str, float]) -> VariantScores:
    """Variants with an F1 of their level on each of 40 documents; shortlists of equal recall."""
    values: dict[tuple[str, str], Values] = {(v, "answer_f1"): np.full(40, level) for v, level in levels.items()}
    lists = {(v, "shortlist_recall"): np.full(40, 0.75) for v in ("both", "phase-1") if v in levels}
    return VariantScores(40, values | lists)


GOOD = {"both": 0.5, "phase-1": 0.25, "phase-2-teacher": 0.5, "phase-2-index": 0.375, "phase-2-stranger": 0.125}


def test_refinement_helps_is_the_precision_that_refining_adds() -> None:
    found = {("both", "shortlist_precision"): np.full(40, 0.25), ("both", "answer_precision"): np.full(40, 0.5)}
    verdict = refinement_helps(VariantScores(40, found), ASKED)
    assert verdict.standing == "holds"
    assert verdict.mean is not None and verdict.mean.value == 0.25
    assert (
        "25.0% of the labels it shortlists and 50.0% of those it answers are targets, difference +25.0 points" in verdict.sentence
    )
    assert refinement_helps(VariantScores(0, {}), ASKED).standing == "not_measured"


def test_isolated_holds_where_both_differences_lie_within_the_margin() -> None:
    made = scores(GOOD)
    verdict = isolated(made, mean_differences(made, 100, 0), ASKED)
    assert verdict.standing == "holds"
    assert "phase 1 alone shortlists 75.0% of the targets, both phases in one answer 75.0%" in verdict.sentence
    assert "answers with an F1 of 50.0, both 50.0, difference 0.0 points" in verdict.sentence
    assert verdict.sentence.endswith("within 7.5 and 5.0 points: 10% of what both reach in one answer.")


@pytest.mark.parametrize(("level", "standing"), [(0.453, "holds"), (0.447, "fails"), (0.553, "fails")])
def test_isolated_allows_a_share_of_what_both_reach_either_way(level: float, standing: str) -> None:
    made = scores(GOOD | {"phase-2-teacher": level})
    assert isolated(made, mean_differences(made, 100, 0), ASKED).standing == standing


def test_isolated_fails_by_the_part_that_fails() -> None:
    made = scores(GOOD | {"phase-2-teacher": 0.25})
    verdict = isolated(made, mean_differences(made, 100, 0), ASKED)
    assert verdict.standing == "fails"
    assert verdict.mean is not None and verdict.mean.value == -0.25
    assert verdict.sentence.startswith("The phases do not work as well when asked for alone:")


@pytest.mark.parametrize(
    ("levels", "standing", "decided"),
    [
        ({}, "holds", 0.125),
        ({"phase-2-index": 0.75}, "fails", -0.25),
        ({"phase-1": 0.75}, "fails", -0.25),
        ({"phase-2-stranger": 0.75}, "fails", -0.25),
        ({"phase-2-stranger": 0.5}, "undecided", 0.0),
    ],
)
def test_complementary_needs_every_part(levels: dict[str, float], standing: str, decided: float) -> None:
    made = scores(GOOD | levels)
    verdict = complementary(made, mean_differences(made, 100, 0), ASKED)
    assert verdict.standing == standing
    assert verdict.mean is not None and verdict.mean.value == pytest.approx(decided)


def test_complementary_does_without_the_index() -> None:
    made = scores({variant: level for variant, level in GOOD.items() if variant != "phase-2-index"})
    verdict = complementary(made, mean_differences(made, 100, 0), ASKED)
    assert verdict.standing == "holds"
    assert verdict.mean is not None and verdict.mean.value == 0.25
    assert "index" not in verdict.sentence


def test_complementary_is_open_where_one_part_is() -> None:
    made = scores(GOOD)
    made.values["phase-2-stranger", "answer_f1"][:] = np.tile([0.0, 1.0], 20)
    verdict = complementary(made, mean_differences(made, 100, 0), ASKED)
    assert verdict.standing == "undecided"
    assert verdict.sentence.startswith("It is open whether each phase adds to the other:")


def test_variants_that_were_not_asked_are_named_with_what_to_do() -> None:
    made = scores({"both": 0.5})
    for judge, missing in (
        (isolated, "phase-1, phase-2-teacher;"),
        (complementary, "phase-1, phase-2-teacher, phase-2-stranger;"),
    ):
        verdict = judge(made, mean_differences(made, 100, 0), ASKED)
        assert (verdict.standing, verdict.mean) == ("not_measured", None)
        assert f"the teacher was not asked for {missing} set teacher.variants to both, phase-1," in verdict.sentence


def test_variants_without_a_common_document_are_not_measured() -> None:
    verdict = isolated(VariantScores(0, {}), {}, ASKED)
    assert verdict.standing == "not_measured"
    assert "no test document with a known target has a usable trace in every variant" in verdict.sentence
