import polars as pl
import pytest

from tasks.reports.axes import Scale
from tasks.reports.patching import Panel, one_row_a_set, panel_chart, panels
from tests.unit.reports.report_frames import PATCH_EFFECTS, patch, table

ALL = [
    patch("top", 3, 0.5, phase=phase, direction=direction, outcome_quantity=quantity)
    for phase, own in (("refine", "confusion"), ("shortlist", "focus"))
    for direction in ("noise", "denoise")
    for quantity in (own, "margin")
]


def panel(*rows: dict[str, object]) -> Panel:
    (found,) = panels(table("core_patch_effects", list(rows)))
    return found


def test_one_row_a_set_takes_mean_and_range_of_the_draws() -> None:
    rows = one_row_a_set(PATCH_EFFECTS).filter(pl.col("head_set") == "random")
    row = rows.row(0, named=True)
    # draws 0.0, 0.1, 0.2: a fortieth of the way from either end
    assert (row["draw_count"], row["effect_frac"]) == (3, pytest.approx(0.1))
    assert (row["effect_low"], row["effect_high"]) == (pytest.approx(0.005), pytest.approx(0.195))


def test_one_row_a_set_keeps_the_interval_of_what_was_drawn_once() -> None:
    row = one_row_a_set(table("core_patch_effects", [patch("random", 3, 0.5)])).row(0, named=True)
    assert (row["effect_low"], row["effect_high"]) == (pytest.approx(0.4), pytest.approx(0.6))


def test_panels_come_in_the_order_of_the_paper() -> None:
    titles = [found.title for found in panels(table("core_patch_effects", ALL))]
    assert titles == [
        "Phase 1, shortlist, denoise: margin", "Phase 1, shortlist, denoise: Focus of generated steps",
        "Phase 1, shortlist, noise: margin", "Phase 1, shortlist, noise: Focus of generated steps",
        "Phase 2, refine, denoise: margin", "Phase 2, refine, denoise: Confusion of generated steps",
        "Phase 2, refine, noise: margin", "Phase 2, refine, noise: Confusion of generated steps",
    ]  # fmt: skip


def test_panels_of_several_corruptions_and_parts_have_ids_of_their_own() -> None:
    rows = [patch("top", 3, 0.5, corruption=c, patched_part=p) for c in ("swap", "mask") for p in ("pattern", "output")]
    assert len({found.slug for found in panels(table("core_patch_effects", rows))}) == 4


def test_panel_chart_places_bins_evenly_and_both_runs_as_references() -> None:
    chart = panel_chart(panel(patch("top", 3, 0.0), patch("top", 100, 1.0), patch("low", 3, 0.0), patch("low", 100, 0.0)))
    assert [tick.text for tick in chart.x_ticks] == ["3", "100"]
    top, low, start, goal = chart.lines
    # from -0.4 to 1.4 over 358 units from 50, and from -15% to 115% over 190 units from the bottom
    across, up = Scale(-0.4, 1.4, 50.0, 408.0), Scale(-15.0, 115.0, 198.0, 8.0)
    assert top.dots == ((across.at(0), up.at(0)), (across.at(1), up.at(100)))
    assert low.dots == ((across.at(0), up.at(0)), (across.at(1), up.at(0)))
    assert (start.path, goal.path) == (f"M 50 {up.at(0):g} L 408 {up.at(0):g}", f"M 50 {up.at(100):g} L 408 {up.at(100):g}")
    assert [line.is_reference for line in chart.lines] == [False, False, True, True]


@pytest.mark.parametrize(
    ("direction", "labels"),
    [
        ("denoise", ["0%: as the corrupted run", "100%: as the clean run"]),
        ("noise", ["0%: as the clean run", "100%: as the corrupted run"]),
    ],
)
def test_panel_chart_says_which_run_stands_at_either_end(direction: str, labels: list[str]) -> None:
    chart = panel_chart(panel(patch("top", 3, 0.5, direction=direction)))
    assert [line.label for line in chart.lines if line.is_reference] == labels


def test_panel_chart_names_the_sets_by_their_score_and_draws() -> None:
    rows = [patch("random", 3, 0.1, draw=n) for n in range(20)]
    chart = panel_chart(panel(*rows, patch("top", 3, 0.5), patch("low", 3, 0.0)))
    assert [line.label for line in chart.lines][:3] == [
        "CoarseScore highest", "random, mean and 95% of 20 draws", "CoarseScore nearest to 0",
    ]  # fmt: skip
    refine = panel_chart(panel(patch("top", 3, 0.5, phase="refine"), patch("random", 3, 0.5, phase="refine")))
    assert [line.label for line in refine.lines][:2] == ["RefineScore highest", "random, one draw"]


def test_panel_chart_notes_both_runs_documents_part_and_corruption() -> None:
    assert panel_chart(panel(patch("top", 3, 0.5))).note == (
        "Percent of the way from the corrupted run (1.00 logits) to the clean run (2.00 logits); 48 documents; attention "
        "patterns patched, anchors swapped with another document's."
    )
    other = panel(patch("top", 3, 0.5, direction="noise", outcome_quantity="focus", corruption="mask", patched_part="output"))
    assert panel_chart(other).note == (
        "Percent of the way from the clean run (2.00) to the corrupted run (1.00); 48 documents; outputs of heads patched, "
        "anchors masked."
    )


def test_panel_chart_leaves_a_gap_where_no_share_is_defined() -> None:
    chart = panel_chart(panel(patch("top", 3, 0.2), patch("top", 8, None), patch("top", 16, 0.4)))
    assert (chart.lines[0].path.count("M"), len(chart.lines[0].dots)) == (2, 2)
    assert [row[1].text for row in chart.data.rows] == ["20.0", "no value", "40.0"]


def test_panel_chart_without_any_share_says_so_and_gives_the_values() -> None:
    chart = panel_chart(panel(patch("top", 3, None), patch("low", 3, None)))
    assert "do not differ surely" in chart.note and "(1.00 logits)" in chart.note and "(2.00 logits)" in chart.note
    # values of 1.0 between 0.9 and 1.1, runs at 1 and 2: from 0.9 to 2.0, widened by a twentieth of 1.1 either side
    up = Scale(0.845, 2.055, 198.0, 8.0)
    assert [y for _, y in chart.lines[0].dots] == [up.at(1.0)]
    references = [(line.label, line.path.split()[2]) for line in chart.lines if line.is_reference]
    assert references == [("corrupted run", f"{up.at(1.0):g}"), ("clean run", f"{up.at(2.0):g}")]
    assert chart.data.rows[0][1].detail == "value 1.00"


def test_panel_chart_cuts_an_interval_that_would_hide_all_else() -> None:
    chart = panel_chart(panel(patch("top", 3, 0.5, effect_ci_low=-30.0, effect_ci_high=40.0), patch("top", 8, 0.6)))
    assert "cut at the edge" in chart.note
    assert {part for part in chart.lines[0].band.split() if part in ("8", "198")} == {"8", "198"}
    assert "-" not in chart.lines[0].band
    assert chart.data.rows[0][1].detail.startswith("−3,000.0 to 4,000.0")


def test_panel_chart_goes_beyond_both_runs_where_the_patch_does() -> None:
    chart = panel_chart(panel(patch("top", 3, -0.5), patch("top", 8, 1.4)))
    places = [y for _, y in chart.lines[0].dots]
    assert all(chart.top < y < chart.bottom for y in places)


def test_panel_grid_gives_share_interval_and_value() -> None:
    grid = panel_chart(panel(patch("top", 3, 0.5), patch("top", 1000, 0.6), patch("low", 3, 0.0))).data
    assert grid.columns == ("heads", "CoarseScore highest", "CoarseScore nearest to 0")
    assert [[cell.text for cell in row] for row in grid.rows] == [["3", "50.0", "0.0"], ["1,000", "60.0", "no value"]]
    assert grid.rows[0][1].detail == "40.0 to 60.0, value 1.50"


def test_panels_of_an_empty_table_are_none() -> None:
    assert panels(PATCH_EFFECTS.clear()) == ()
