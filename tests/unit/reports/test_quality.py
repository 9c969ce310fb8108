import polars as pl

from tasks.reports.quality import boundary_chart, cost_grid, format_grid, reject_grid, teacher_grid
from tests.unit.reports.report_frames import COSTS, PARSE_REJECTS, TRACES, cost, table


def test_format_grid_counts_by_format_and_over_all() -> None:
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in format_grid(TRACES).rows}
    assert rows["prose"] == ["1", "0.0", "0.0", "0.0", "2.0", "2.0", "2.0"]
    assert rows["all formats"] == ["2", "50.0", "12.5", "50.0", "2.0", "2.0", "2.0"]


def test_format_grid_of_no_traces_has_no_rows() -> None:
    assert format_grid(TRACES.clear()).rows == ()


def test_reject_grid_counts_reasons_most_first() -> None:
    rows = reject_grid([table("core_rejects", []), PARSE_REJECTS]).rows
    assert [(row[0].text, row[2].text) for row in rows] == [("refused", "2"), ("no_answer", "1")]
    assert rows[0][3].text.startswith("seen 1")


def test_boundary_chart_counts_every_trace_once() -> None:
    counts = {bar.label: bar.text for bar in boundary_chart(TRACES).bars}
    assert counts["0.5"] == "1"
    assert counts["none"] == "1"
    assert sum(int(text) for text in counts.values()) == TRACES.height


def test_boundary_chart_puts_the_edge_of_a_tenth_into_its_own_bin() -> None:
    traces = TRACES.with_columns(boundary_step=pl.lit(3, pl.Int32), step_count=pl.lit(10, pl.Int32))
    assert {bar.label: bar.text for bar in boundary_chart(traces).bars}["0.3"] == "2"


def test_cost_grid_shows_an_unknown_price_as_unknown_and_no_requests_as_none() -> None:
    rows = {row[0].text: [cell.text for cell in row[1:6]] for row in cost_grid(COSTS).rows}
    assert rows["trace"] == ["61.0 s", "2", "500", "500", "unknown"]
    assert rows["ingest"] == ["61.0 s", "0", "none", "none", "none"]
    assert rows["all stages"] == ["2 min 02 s", "2", "500", "500", "unknown"]


def test_cost_grid_sums_known_prices_and_makes_one_unknown_price_unknown() -> None:
    known = [cost("trace", 2, 1.5, 500), cost("parse", 1, 0.25, 100), cost("index", 0, None, 0)]
    assert cost_grid(table("out_costs", known)).rows[-1][5].text == "$1.75"
    assert cost_grid(table("out_costs", [*known, cost("distill", 3, None, None)])).rows[-1][5].text == "unknown"


def test_cost_grid_marks_what_was_reused() -> None:
    assert cost_grid(COSTS).rows[0][0].detail == "reused: an earlier result"


def test_teacher_grid_shows_this_run_beside_all_runs_and_unknown_as_unknown() -> None:
    row = cost("trace", 2, 0.5, 500) | {
        "cached_tokens": 100, "reasoning_tokens": None, "answer_tokens": None, "total_request_count": 7,
        "total_prompt_tokens": 900, "total_cached_tokens": 300, "total_completion_tokens": 800, "total_answer_tokens": 70,
        "total_cost_usd": None,
    }  # fmt: skip
    grid = teacher_grid(table("out_costs", [row]))
    assert grid is not None
    assert [cell.text for cell in grid.rows[0]] == ["this run", "2", "500", "100", "500", "unknown", "unknown", "$0.50"]
    assert [cell.text for cell in grid.rows[1]] == ["all runs together", "7", "900", "300", "800", "unknown", "70", "unknown"]


def test_teacher_grid_of_stages_that_ask_nobody_is_none() -> None:
    assert teacher_grid(table("out_costs", [cost("ingest", 0, None, 0) | {"total_request_count": 0}])) is None
