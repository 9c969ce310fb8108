import itertools

import pytest

from tasks.reports.cells import Grid
from tasks.reports.charts import WIDTH
from tasks.reports.head_map import HeadMap, Heads, head_map, head_name, shade_of

NOTHING = Grid("g", "c", ("head",), ())
SMALL: Heads = {(0, 0): 8.0, (0, 1): 3.0, (1, 0): -1.0, (1, 1): None}


def drawn(scores: Heads, top: frozenset[tuple[int, int]] = frozenset()) -> HeadMap:
    return head_map("m", "title", scores, top, 1, NOTHING)


def test_head_name_is_written_as_in_prose() -> None:
    assert head_name(12, 3) == "L12H3"


@pytest.mark.parametrize(
    ("value", "shade"),
    [(8.0, "p4"), (4.0, "p4"), (3.9, "p3"), (2.0, "p3"), (1.0, "p2"), (0.5, "p1"), (0.49, "z"), (0.0, "z"), (-8.0, "n4"),
     (-0.6, "n1"), (None, "none"), (float("nan"), "none"), (float("inf"), "none")],
)  # fmt: skip
def test_shade_of_doubles_from_shade_to_shade(value: float | None, shade: str) -> None:
    assert shade_of(value, 8.0) == shade


def test_shade_of_nothing_but_zeros_is_zero() -> None:
    assert shade_of(0.0, 0.0) == "z"


def test_head_map_places_layers_down_and_heads_across() -> None:
    chart = drawn(SMALL)
    # cells are at most 46 by 22 units; the first stands right of the layer's names and below the heads' names
    assert [(row.y, [cell.x for cell in row.cells]) for row in chart.rows] == [(18.0, [38.0, 84.0]), (40.0, [38.0, 84.0])]
    assert [cell.shade for row in chart.rows for cell in row.cells] == ["p4", "p3", "n2", "none"]
    assert [cell.title for row in chart.rows for cell in row.cells] == ["L0H0: 8.0", "L0H1: 3.0", "L1H0: −1.0", "L1H1: no value"]
    assert [tick.text for tick in (*chart.row_ticks, *chart.column_ticks)] == ["L0", "L1", "H0", "H1"]
    assert [tick.at for tick in chart.column_ticks] == [61.0, 107.0]


def test_head_map_marks_negative_heads_and_outlines_the_top() -> None:
    chart = drawn({**SMALL, (0, 1): -8.0}, frozenset({(0, 0)}))
    assert [cell.is_top for row in chart.rows for cell in row.cells] == [True, False, False, False]
    # a line of six units in the middle of a cell of 45 by 21: L1H0 (light), L0H1 (dark)
    assert chart.minus == ("M 57.5 50.5 h 6", "M 103.5 28.5 h 6")


def test_head_map_explains_the_shades_it_uses() -> None:
    legend = [(swatch.shade, swatch.text) for swatch in drawn(SMALL).legend]
    assert legend == [("n2", "−2.0 to −1.0"), ("p3", "2.0 to 4.0"), ("p4", "4.0 to 8.0"), ("none", "no value")]


def test_head_map_says_which_heads_are_the_ends() -> None:
    assert "3 heads: highest L0H0 8.0, lowest L1H0 −1.0" in drawn(SMALL).description
    assert drawn({(0, 0): None}).description == "No values."


def test_head_map_of_nothing_and_of_one_head_has_a_size() -> None:
    assert drawn({}).rows == ()
    one = drawn({(0, 0): 0.0})
    assert (one.width, one.height, len(one.rows)) == (WIDTH, 44.0, 1)


def test_head_map_of_many_heads_is_wide_and_keeps_cells_legible() -> None:
    chart = drawn({(layer, head): float(layer - head) for layer in range(80) for head in range(64)})
    assert chart.is_wide and chart.width == 38 + 64 * 10
    assert (len(chart.rows), chart.cell_width, chart.cell_height) == (80, 9.0, 9.0)
    assert not drawn({(0, head): 1.0 for head in range(32)}).is_wide
    for ticks, room in ((chart.column_ticks, 28), (chart.row_ticks, 14)):
        gaps = {round(b.at - a.at, 1) for a, b in itertools.pairwise(ticks)}
        assert len(gaps) == 1 and gaps.pop() >= room


def test_head_map_leaves_out_heads_that_were_not_measured() -> None:
    chart = drawn({(0, 0): 1.0, (2, 1): 1.0})
    assert [len(row.cells) for row in chart.rows] == [1, 0, 1]
