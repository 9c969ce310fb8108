import itertools
import math

import pytest

from tasks.reports.axes import Scale, axis_ticks, tick_values, value_range
from tasks.reports.charts import WIDTH, Mark, Point, Series, bar_chart, dot_chart, line_chart, unbroken

MARKS = [Mark("low", 10.0, 8.0, 12.0), Mark("middle", 20.0, 15.0, 26.0), Mark("high", 30.0, 29.0, 31.0)]


def test_scale_is_monotone_and_meets_its_ends() -> None:
    scale = Scale(0.0, 10.0, 100.0, 200.0)
    places = [scale.at(v) for v in (0, 2.5, 5, 10)]
    assert places == [100.0, 125.0, 150.0, 200.0]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.7, 12.1), (0.131, 0.134), (5.0, 5.0), (0.0, 0.0), (1e-9, 3e-9)])
def test_tick_values_are_evenly_spaced_within_the_range(low: float, high: float) -> None:
    ticks = tick_values(low, high)
    assert all(low - 1e-6 <= t <= high + 1e-6 for t in ticks)
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6, abs_tol=1e-9) for step in steps)


def test_axis_ticks_have_as_many_decimals_as_the_step_needs() -> None:
    assert [t.text for t in axis_ticks(Scale(-1.0, 1.0, 0, 1))] == ["−1.0", "−0.5", "0.0", "0.5", "1.0"]
    assert [t.text for t in axis_ticks(Scale(0.0, 40.0, 0, 1))] == ["0", "10", "20", "30", "40"]


def test_value_range_ignores_what_is_not_finite_and_keeps_a_width() -> None:
    assert value_range([None, float("nan"), float("inf")]) == (0.0, 1.0)
    low, high = value_range([2.0, 2.0, None])
    assert low < 2.0 < high


def test_dot_chart_places_values_and_intervals_in_order() -> None:
    chart = dot_chart("c", "title", "percent", MARKS)
    xs = [row.x for row in chart.rows if row.x is not None]
    assert xs == sorted(xs) and len(set(xs)) == 3
    for row in chart.rows:
        assert row.x_low is not None and row.x is not None and row.x_high is not None
        assert chart.left <= row.x_low < row.x < row.x_high <= chart.right <= WIDTH
    assert [row.y for row in chart.rows] == sorted(row.y for row in chart.rows)


def test_dot_chart_does_not_draw_a_value_that_is_not_finite() -> None:
    chart = dot_chart("c", "title", "percent", [*MARKS, Mark("lost", float("nan"), None, float("inf"))])
    lost = chart.rows[-1]
    assert (lost.x, lost.x_low, lost.x_high, lost.text) == (None, None, None, "no value")
    assert "nan" not in repr(chart.rows) and "inf" not in repr(chart.rows)


def test_dot_chart_around_zero_has_the_zero_line_and_signs() -> None:
    chart = dot_chart("c", "title", "points", [Mark("a", 2.0, 1.0, 3.0, note="p = 0.010")], has_zero=True)
    assert chart.zero_x is not None and chart.rows[0].x_low is not None
    assert chart.zero_x < chart.rows[0].x_low
    assert chart.rows[0].text == "+2.0, p = 0.010"


def test_dot_chart_without_marks_is_empty_and_says_so() -> None:
    chart = dot_chart("c", "title", "percent", [])
    assert (chart.rows, chart.ticks, chart.description) == ((), (), "No values.")


def test_dot_chart_has_its_numbers_as_a_table() -> None:
    rows = dot_chart("c", "title", "percent", MARKS).data.rows
    assert [cell.text for cell in rows[1]] == ["middle", "20.0", "15.0 to 26.0"]


def test_line_chart_goes_right_with_x_and_up_with_y() -> None:
    points = (Point(1.0, 0.9, 0.8, 1.0), Point(0.0, 0.1, 0.0, 0.2), Point(0.5, 0.5, 0.4, 0.6))
    dots = line_chart("c", "title", "x", [Series("a", points)]).lines[0].dots
    assert [x for x, _ in dots] == sorted(x for x, _ in dots)
    assert [y for _, y in dots] == sorted((y for _, y in dots), reverse=True)


def test_line_chart_breaks_the_line_where_a_value_is_missing() -> None:
    points = tuple(Point(float(x), None if x == 2 else float(x)) for x in range(5))
    line = line_chart("c", "title", "x", [Series("a", points)]).lines[0]
    assert line.path.count("M") == 2
    assert len(line.dots) == 4
    assert "nan" not in line.path


def test_line_chart_draws_no_band_where_an_end_is_missing() -> None:
    points = (Point(0.0, 1.0, 0.5, 1.5), Point(1.0, 1.0, None, 1.5), Point(2.0, 1.0, 0.5, 1.5), Point(3.0, 1.0, 0.5, 1.5))
    line = line_chart("c", "title", "x", [Series("a", points)]).lines[0]
    assert line.path.count("M") == 1
    assert line.band.count("M") == 2


def test_line_chart_gives_references_no_style_of_their_own() -> None:
    points = (Point(0.0, 1.0), Point(1.0, 2.0))
    series = [Series("a", points), Series("floor", points, is_reference=True), Series("b", points)]
    assert [line.style for line in line_chart("c", "title", "x", series).lines] == [0, -1, 1]


def test_line_chart_tells_six_lines_apart() -> None:
    points = (Point(0.0, 1.0), Point(1.0, 2.0))
    lines = line_chart("c", "title", "x", [Series(name, points) for name in "abcdef"]).lines
    assert len({line.style for line in lines}) == 6


def test_line_chart_without_points_is_empty_and_says_so() -> None:
    chart = line_chart("c", "title", "x", [Series("a", (Point(0.0, float("nan")),))])
    assert (chart.lines[0].path, chart.lines[0].band, chart.description) == ("", "", "No values.")
    assert line_chart("c", "title", "x", []).x_ticks == ()


def test_unbroken_sorts_by_x() -> None:
    assert [p.x for run in unbroken([Point(2.0, 1.0), Point(1.0, 1.0)]) for p in run] == [1.0, 2.0]


def test_bar_chart_heights_follow_counts_and_stand_on_the_base() -> None:
    chart = bar_chart("c", "title", "x", [("a", 0), ("b", 5), ("c", 10)])
    heights = [bar.height for bar in chart.bars]
    assert heights[0] == 0
    assert heights[2] == pytest.approx(2 * heights[1])
    assert all(bar.y + bar.height == pytest.approx(chart.bottom) for bar in chart.bars)


def test_bar_chart_of_zeros_has_no_bars_to_see() -> None:
    chart = bar_chart("c", "title", "x", [("a", 0), ("b", 0)])
    assert [bar.height for bar in chart.bars] == [0, 0]
    assert chart.description == "No values."
