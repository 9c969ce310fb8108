from collections import Counter

import pytest

from schemas.config import FaultRates
from tasks.traces.stand_in.server import completion, count_tokens, draw_fault
from tasks.traces.stand_in.wording import Reply

MESSAGES = [{"role": "system", "content": "12345678"}, {"role": "user", "content": "1234"}]


def test_draw_fault_gives_each_kind_its_rate() -> None:
    faults = FaultRates(rate_limited=0.1, server_error=0.2, broken_json=0.05, cut_off=0.15, refusal=0.1)
    drawn = Counter(draw_fault(faults, 0, str(i), 1) for i in range(4000))
    shares = {kind: count / 4000 for kind, count in drawn.items()}
    expected = {"rate_limited": 0.1, "server_error": 0.2, "broken_json": 0.05, "cut_off": 0.15, "refusal": 0.1, None: 0.4}
    assert shares == pytest.approx(expected, abs=0.03)


def test_draw_fault_draws_again_for_a_retry_and_alike_for_the_same_attempt() -> None:
    faults = FaultRates(server_error=0.5)
    first = [draw_fault(faults, 0, str(i), 1) for i in range(50)]
    assert first == [draw_fault(faults, 0, str(i), 1) for i in range(50)]
    assert first != [draw_fault(faults, 0, str(i), 2) for i in range(50)]
    assert first != [draw_fault(faults, 1, str(i), 1) for i in range(50)]


def test_draw_fault_draws_none_by_default_and_always_at_certainty() -> None:
    assert {draw_fault(FaultRates(), 0, str(i), 1) for i in range(50)} == {None}
    assert {draw_fault(FaultRates(refusal=1.0), 0, str(i), 1) for i in range(50)} == {"refusal"}


def test_completion_counts_tokens_of_prompt_answer_and_reasoning() -> None:
    usage = completion("m", MESSAGES, Reply("12345", "123456789"), None)["usage"]
    assert usage == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert count_tokens(0) == 0


def test_completion_is_cut_off_at_the_token_limit() -> None:
    choice = completion("m", MESSAGES, Reply("x" * 100, "y" * 100), 30)["choices"][0]
    assert choice["finish_reason"] == "length"
    assert (len(choice["message"]["reasoning_content"]), len(choice["message"]["content"])) == (100, 20)
    assert completion("m", MESSAGES, Reply("x" * 100), 25)["choices"][0]["finish_reason"] == "stop"


def test_completion_names_reasoning_only_where_it_is_apart() -> None:
    assert "reasoning_content" not in completion("m", MESSAGES, Reply("x"), None)["choices"][0]["message"]
