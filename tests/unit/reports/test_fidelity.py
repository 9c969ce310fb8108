from dataclasses import replace

import pytest

from tasks.reports.fidelity import ablation_charts, collect_all, fidelity_grid, fidelity_section, reasoning_curves
from tasks.reports.results import kind_of
from tests.unit.reports.report_frames import (
    FACTS,
    FIDELITY_METRICS,
    FIDELITY_TRAJECTORIES,
    FRAMES,
    METRICS,
    metric,
    table,
)


def test_ablation_charts_show_las_and_what_is_found_by_method() -> None:
    evaluated = table("out_metrics", [metric("decoder-cot", "R", 10, 0.4), metric("answers", "R", 10, 0.5)])
    las, recall = ablation_charts(collect_all(FIDELITY_METRICS), evaluated)
    assert [row.label for row in las.rows] == ["cot", "mechanistic"]
    assert las.zero_x is not None
    assert [(row.label, row.text) for row in recall.rows] == [("cot", "40.0")]


def test_ablation_charts_leave_out_what_was_not_evaluated() -> None:
    assert [chart.slug for chart in ablation_charts(collect_all(FIDELITY_METRICS), METRICS)] == ["reasoning-las"]


def test_fidelity_grid_has_what_was_measured_with_intervals_of_either_split() -> None:
    grid = fidelity_grid(collect_all(FIDELITY_METRICS))
    assert grid.columns == ("system", "LAS", "Focus distance", "token loss, nats", "form kept")
    cells = {row[0].text: [cell.text for cell in row[1:]] for row in grid.rows}
    assert cells["decoder-mechanistic"] == ["0.080", "0.050", "3.200", "no value"]
    assert cells["decoder-answers"] == ["no value", "no value", "no value", "0.900"]


def test_reasoning_curves_put_the_teacher_beside_students_that_are_followed() -> None:
    focus, confusion = reasoning_curves(FIDELITY_TRAJECTORIES)
    assert [line.label for line in focus.lines] == ["teacher-decoder", "decoder-cot"]
    assert [line.is_reference for line in confusion.lines] == [True, False]


def test_fidelity_section_says_how_to_get_it() -> None:
    section = fidelity_section(FACTS, replace(FRAMES, fidelity_metrics=None))
    assert "ctd fidelity toy" in section.notes[0]
    assert not section.charts


@pytest.mark.parametrize(("system", "kind"), [("decoder-cot", "decoder student"), ("answers", "student"), ("zebra", "other")])
def test_kind_of(system: str, kind: str) -> None:
    assert kind_of(system).name == kind
