from datetime import UTC, datetime
from typing import Any

from schemas.checks import RowCountRule, RowRule
from schemas.tables import OUT_CHECKS
from tasks.checks.expectations import Expectation
from tasks.checks.profile import Measurement
from tasks.checks.verdicts import Verdict, checks_frame, problem_lines

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def verdict(meaning: str, outcome: str, severity: str = "error", max_frac: float = 0.0, **measured: Any) -> Verdict:
    rule = RowRule("score", "score >= 0", meaning, severity, max_frac)
    return Verdict(Measurement(Expectation("core_traces", "score", meaning, rule, severity, max_frac), **measured), outcome)


FAILED = verdict(
    "positive", "failed", row_count=1000, unexpected_count=12, unexpected_frac=0.012, example_keys=("trace_id=a", "trace_id=b")
)
UNKNOWN = verdict("finite", "could_not_run", row_count=1000, note="Binder Error: no score")
PASSED = verdict("small", "passed", row_count=1000, unexpected_count=0, unexpected_frac=0.0)


def test_stops_run_is_about_errors_that_did_not_pass() -> None:
    warned = verdict("positive", "failed", "warn")
    assert [v.stops_run for v in (FAILED, UNKNOWN, PASSED, warned)] == [True, True, False, False]
    assert [v.is_warning for v in (FAILED, UNKNOWN, PASSED, warned)] == [False, False, False, True]


def test_problem_lines_names_table_column_meaning_count_share_and_keys() -> None:
    assert problem_lines([FAILED, PASSED]) == [
        'core_traces.score: 12 of 1000 rows (0.012) break "positive", e.g. trace_id=a; trace_id=b'
    ]


def test_problem_lines_gives_the_reason_of_a_check_that_could_not_run() -> None:
    assert problem_lines([UNKNOWN]) == ['core_traces.score: could not run "finite": Binder Error: no score']


def test_problem_lines_joins_checks_that_could_not_run_for_one_reason() -> None:
    unknown = [verdict(f"rule {i}", "could_not_run", note="file is gone") for i in range(5)]
    assert problem_lines(unknown) == [
        'core_traces.*: 5 checks could not run ("rule 0"; "rule 1"; "rule 2" and 2 more): file is gone'
    ]


def test_problem_lines_shows_what_a_rule_allows() -> None:
    over = verdict("linked", "failed", "warn", 0.2, row_count=10, unexpected_count=3, unexpected_frac=0.3)
    assert problem_lines([over]) == ['core_traces.score: 3 of 10 rows (0.3 > 0.2 allowed) break "linked"']


def test_problem_lines_says_how_many_rows_there_are_when_rows_are_missing() -> None:
    expectation = Expectation("core_traces", "*", "the table has at least 1 row", RowCountRule(1))
    empty = Verdict(Measurement(expectation, row_count=0, unexpected_count=1, unexpected_frac=1.0), "failed")
    assert problem_lines([empty]) == ['core_traces.*: 0 rows break "the table has at least 1 row"']


def test_checks_frame_is_out_checks_with_keys_or_reason() -> None:
    frame = checks_frame([PASSED, FAILED, UNKNOWN], "run-1", "tiny", "parse", NOW)
    assert frame.schema == OUT_CHECKS.schema
    assert frame.select("outcome", "unexpected_count", "unexpected_frac", "example_keys_text").rows() == [
        ("passed", 0, 0.0, ""),
        ("failed", 12, 0.012, "trace_id=a; trace_id=b"),
        ("could_not_run", None, None, "Binder Error: no score"),
    ]
    assert frame["checked_at"].unique().to_list() == [NOW]


def test_checks_frame_of_nothing_is_an_empty_table() -> None:
    assert checks_frame([], "run-1", "tiny", "parse", NOW).schema == OUT_CHECKS.schema
