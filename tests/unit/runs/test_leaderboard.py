import polars as pl

from tasks.runs.leaderboard import leaderboard_table


def test_leaderboard_table_orders_systems_and_marks_missing_values() -> None:
    rows = pl.DataFrame(
        {
            "system": ["mechanistic", "teacher", "custom"],
            "metric": ["P", "P", "R"],
            "k": [1, 1, 10],
            "value": [0.25, 0.2, 0.5],
            "ci_low": [0.2, 0.15, 0.4],
            "ci_high": [0.3, 0.25, 0.6],
            "seed_count": [3, 1, 1],
        }
    )
    header, lines = leaderboard_table(rows)
    assert header[:3] == ["system", "seeds", "P@1"]
    assert [line[0] for line in lines] == ["teacher", "mechanistic", "custom"]
    assert lines[1][1:4] == ["3", "25.0 [20.0, 30.0]", "-"]
