from datetime import UTC, datetime

import pytest

from schemas.errors import TeacherError
from schemas.refs import StageCost
from schemas.tables import RAW_TRACES
from tasks.traces.answers import Answer
from tasks.traces.plan import Asked
from tasks.traces.rows import Spending, count_failures, in_parts, refuse_failures, stage_cost, trace_rows


def _answer(key: str, **changes: object) -> Answer:
    values = {
        "request_hash": key,
        "messages_hash": "m",
        "teacher": "model",
        "endpoint": "http://host/v1",
        "prompt_kind": "open",
        "sample_index": 0,
        "asked_at": datetime(2026, 1, 1, tzinfo=UTC),
        "attempt_count": 2,
        "completion_text": "vim",
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "completion_tokens": 5,
        "reasoning_tokens": 2,
        "answer_tokens": 3,
        "cost_usd": 0.5,
    }
    return Answer.model_validate(values | changes)


def _failed(key: str) -> Answer:
    nothing = dict.fromkeys(("completion_text", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"))
    return _answer(key, error_kind="http_500", error_text="down", answer_tokens=None, cost_usd=None, **nothing)


def _spending(*answers: Answer) -> Spending:
    spending = Spending()
    for answer in answers:
        spending.add(answer)
    return spending


def _asked(key: str, document_id: str, split: str = "train") -> Asked:
    return Asked(bytes.fromhex(key), document_id, split, "phase-1", 3)


def test_spending_sums_answers_and_counts_failures_apart() -> None:
    spending = _spending(_answer("a"), _answer("b"), _failed("c"))
    assert (spending.request_count, spending.attempt_count, spending.failed_count) == (3, 6, 1)
    assert spending.tokens == {
        "prompt_tokens": 20,
        "cached_tokens": 8,
        "completion_tokens": 10,
        "reasoning_tokens": 4,
        "answer_tokens": 6,
    }
    assert spending.cost_usd == 1.0


def test_spending_keeps_a_sum_with_an_unknown_part_unknown() -> None:
    spending = _spending(_answer("a"), _answer("b", cost_usd=None, cached_tokens=None), _answer("c"))
    assert (spending.cost_usd, spending.tokens["cached_tokens"], spending.tokens["prompt_tokens"]) == (None, None, 30)


def test_stage_cost_tells_this_run_from_all_runs() -> None:
    sent, behind = _spending(_answer("a"), _failed("b")), _spending(_answer("a"), _answer("c"), _failed("b"))
    assert stage_cost(sent, behind) == StageCost(
        request_count=2,
        prompt_tokens=10,
        cached_tokens=4,
        completion_tokens=5,
        reasoning_tokens=2,
        answer_tokens=3,
        cost_usd=0.5,
        total_request_count=3,
        total_prompt_tokens=20,
        total_cached_tokens=8,
        total_completion_tokens=10,
        total_reasoning_tokens=4,
        total_answer_tokens=6,
        total_cost_usd=1.0,
        rows_in_count=3,
        rejected_count=1,
    )


def test_stage_cost_is_unknown_and_not_zero_where_nothing_was_answered() -> None:
    cost = stage_cost(_spending(), _spending(_failed("a")))
    assert (cost.request_count, cost.cost_usd, cost.total_cost_usd) == (0, None, None)
    assert (cost.prompt_tokens, cost.completion_tokens) == (0, 0)
    cost = stage_cost(_spending(_answer("a", cost_usd=0.0)), _spending(_answer("a", cost_usd=None)))
    assert (cost.cost_usd, cost.total_cost_usd) == (0.0, None)


def test_trace_rows_gives_every_document_its_row() -> None:
    asked = [_asked("0a", "d"), _asked("0a", "e", "test"), _asked("0b", "f")]
    answers = {"0a": _answer("0a", reasoning_text="because"), "0b": _failed("0b")}
    frame = trace_rows("set", asked, answers)
    assert frame.schema == RAW_TRACES.schema
    assert frame["document_id"].to_list() == ["d", "e", "f"]
    assert frame["split"].to_list() == ["train", "test", "train"]
    assert frame["dataset"].to_list() == ["set"] * 3
    assert frame["reasoning_text"].to_list() == ["because", "because", None]
    assert frame["error_kind"].to_list() == [None, None, "http_500"]
    assert frame["asked_at"][0] == datetime(2026, 1, 1, tzinfo=UTC)


def test_trace_rows_of_nothing_has_the_columns() -> None:
    assert trace_rows("set", [], {}).schema == RAW_TRACES.schema


@pytest.mark.parametrize("empty_first", [0, 200])
def test_trace_rows_takes_columns_that_begin_empty(empty_first: int) -> None:
    keys = [f"{i:04x}" for i in range(empty_first + 1)]
    answers = {key: _failed(key) for key in keys[:-1]} | {keys[-1]: _answer(keys[-1], latency_ms=1.5)}
    frame = trace_rows("set", [_asked(key, key) for key in keys], answers)
    assert (frame["latency_ms"][-1], frame["cost_usd"][-1]) == (1.5, 0.5)


def test_in_parts_gives_all_rows_once_and_one_part_of_none() -> None:
    rows = [_asked(f"{i:02x}", str(i)) for i in range(7)]
    assert [len(part) for part in in_parts(rows, 3)] == [3, 3, 1]
    assert [row for part in in_parts(rows, 3) for row in part] == rows
    assert [len(part) for part in in_parts([], 3)] == [0]
    assert [len(part) for part in in_parts(rows[:3], 3)] == [3]


def test_refuse_failures_names_kinds_and_shares() -> None:
    failures = count_failures([None, None, None, "http_500", "http_500", "timeout"])
    assert failures == {"http_500": 2, "timeout": 1}
    refuse_failures(failures, 6, 0.5, None)
    with pytest.raises(TeacherError, match=r"3 of 6 requests failed \(0.500 > max_error_frac 0.4\): 2 http_500, 1 timeout\. "):
        refuse_failures(failures, 6, 0.4, None)
    with pytest.raises(TeacherError, match="1 timeout; one said: too slow"):
        refuse_failures(failures, 6, 0.0, "too slow")


def test_refuse_failures_bears_none_of_none() -> None:
    refuse_failures(count_failures([]), 0, 0.0, None)
    refuse_failures(count_failures([None]), 1, 0.0, None)
