from collections import Counter

import pytest

from schemas.config import FaultRates
from tasks.traces.stand_in.faults import draw_fault, lasting, meet_fault


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


def test_meet_fault_takes_the_schedule_before_the_rates() -> None:
    faults = FaultRates(schedule=("ok", "hung"), refusal=1.0)
    assert [meet_fault(faults, 0, "key", 1, number) for number in range(3)] == [None, "hung", "refusal"]


def test_lasting_leaves_out_what_only_delays() -> None:
    plain = lasting(FaultRates())
    assert lasting(FaultRates(server_error=0.3, hung=0.1, slow_ms=9.0, schedule=("ok", "dropped"))) == plain
    assert lasting(FaultRates(huge=0.1)) != plain
    assert lasting(FaultRates(schedule=("refusal",))) != plain
