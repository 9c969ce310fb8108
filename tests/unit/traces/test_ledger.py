import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import StorageError
from schemas.refs import RetryRules
from tasks.traces.answers import CUT, Answer, Received, answered, failed
from tasks.traces.endpoints import Endpoint
from tasks.traces.ledger import Ledger, is_sent
from tasks.traces.money import Prices, Usage
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import TraceRequest, make_request

ENDPOINT = Endpoint("http://host/v1", "model", "open", 0.0, 100)
REQUESTS = [make_request(ENDPOINT, str(i), "train", open_prompt(f"text {i}", 2, ["a"])) for i in range(6)]
PRICES = Prices(1_000_000.0, 0.0)
ALL, FAILED_ONLY = RetryRules(), RetryRules(is_only_failed=True)


class MemoryStore:
    """A journal in memory; can run full."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.flushed_count = 0
        self.is_full = False

    def entries(self, columns: Collection[str] | None = None) -> Iterator[Mapping[str, Any]]:
        wanted = {"request_hash", *(columns or ())}
        for line in self.lines:
            yield {name: value for name, value in json.loads(line).items() if name in wanted}

    def read(self, wanted: Collection[str]) -> dict[str, str]:
        return {key: line for line in self.lines if (key := json.loads(line)["request_hash"]) in wanted}

    def write(self, lines: Sequence[str]) -> None:
        if self.is_full:
            raise StorageError("disk full")
        self.lines += lines

    def flush(self) -> None:
        if self.is_full:
            raise StorageError("disk full")
        self.flushed_count = len(self.lines)


def _answer(number: int, finish_reason: str = "stop", usd: int = 1, at_risk_usd: float | None = 0.0, text: str = "vim") -> Answer:
    received = Received(text, None, finish_reason, Usage(usd, None, 0))
    return answered(REQUESTS[number], ENDPOINT, PRICES, received, 1, 5.0).model_copy(update={"at_risk_usd": at_risk_usd})


def _failed(number: int, kind: str = "http_500", at_risk_usd: float | None = 0.0) -> Answer:
    return failed(REQUESTS[number], ENDPOINT, 3, kind, f"{kind} said so").model_copy(update={"at_risk_usd": at_risk_usd})


def _ledger(*answers: Answer, rules: RetryRules = ALL, endpoint: Endpoint = ENDPOINT) -> Ledger:
    """A ledger over what an earlier run kept."""
    store = MemoryStore()
    store.write([answer.model_dump_json() for answer in answers])
    return Ledger(store, endpoint, rules)


def _missing(ledger: Ledger, *chunks: Sequence[TraceRequest]) -> list[tuple[list[str], int]]:
    return [([request.document_id for request in wanted], left) for wanted, left in ledger.missing(chunks)]


@pytest.mark.parametrize(
    ("ending", "is_known", "by_default", "only_failed", "by_reason"),
    [
        (None, False, True, False, True),
        (None, True, False, False, False),
        ("http_500", True, True, True, True),
        ("timeout", True, True, True, False),
        ("http_400", True, False, False, False),
        ("no_shortlist", True, False, False, False),
        ("length", True, False, False, True),
        (CUT, True, False, False, False),
    ],
)
def test_is_sent_follows_the_rules(
    ending: str | None, is_known: bool, by_default: bool, only_failed: bool, by_reason: bool
) -> None:
    reasons = ("http_500", "length")
    assert is_sent(ALL, ending, is_known) is by_default
    assert is_sent(FAILED_ONLY, ending, is_known) is only_failed
    assert is_sent(RetryRules(reasons=reasons), ending, is_known) is by_reason
    assert is_sent(RetryRules(is_only_failed=True, reasons=reasons), ending, is_known) is (by_reason and is_known)


def test_is_sent_sends_what_was_refused_again_only_by_name() -> None:
    assert is_sent(RetryRules(reasons=("http_400", CUT)), "http_400", is_known=True)
    assert is_sent(RetryRules(reasons=("http_400", CUT)), CUT, is_known=True)


def test_missing_takes_each_key_once_and_counts_the_rest() -> None:
    same = make_request(ENDPOINT, "same text", "test", REQUESTS[0].prompt)
    ledger = _ledger(_answer(1))
    assert _missing(ledger, [REQUESTS[0], same, REQUESTS[1]], [REQUESTS[0], REQUESTS[2]]) == [(["0"], 2), (["2"], 1)]
    assert _missing(ledger, REQUESTS[:3], []) == [([], 3), ([], 0)]


def test_missing_makes_chunks_when_they_are_needed() -> None:
    made = []

    def chunks() -> Iterator[list[TraceRequest]]:
        for request in REQUESTS:
            made.append(request)
            yield [request]

    missing = _ledger().missing(chunks())
    next(missing)
    assert len(made) == 1


def test_missing_resumes_with_what_failed_and_what_was_never_asked() -> None:
    before = (_answer(0), _failed(1), _failed(2, "http_400"), _answer(3, "length"), _answer(4, CUT))
    assert _missing(_ledger(*before), REQUESTS) == [(["1", "5"], 4)]
    assert _missing(_ledger(*before, rules=FAILED_ONLY), REQUESTS) == [(["1"], 5)]
    assert _missing(_ledger(*before, rules=RetryRules(reasons=("length",))), REQUESTS) == [(["3", "5"], 4)]
    assert _missing(_ledger(*before, rules=RetryRules(is_only_failed=True, reasons=(CUT, "http_400"))), REQUESTS) == [
        (["2", "4"], 4)
    ]


def test_ledger_goes_by_how_a_request_ended_last() -> None:
    assert _missing(_ledger(_failed(0), _answer(0)), REQUESTS[:1]) == [([], 1)]
    assert _missing(_ledger(_failed(0, "http_400"), _failed(0, "timeout")), REQUESTS[:1]) == [(["0"], 0)]
    assert _missing(_ledger(_answer(0, "length"), _answer(0)), REQUESTS[:1]) == [([], 1)]


def test_keep_stores_at_once_and_flush_counts() -> None:
    store = MemoryStore()
    ledger = Ledger(store, ENDPOINT, ALL)
    ledger.keep([_answer(0, at_risk_usd=0.5)])
    ledger.keep([_failed(1, at_risk_usd=0.25)])
    assert (len(store.lines), store.flushed_count) == (2, 0)
    assert (ledger.sent.request_count, ledger.spent_usd) == (0, 0.0)
    assert [answer.error_kind for answer in ledger.flush()] == [None, "http_500"]
    assert (store.flushed_count, ledger.sent.request_count, ledger.sent.failed_count) == (2, 2, 1)
    assert ledger.spent_usd == pytest.approx(1.75)
    assert ledger.flush() == []
    assert ledger.sent.request_count == 2


def test_keep_and_flush_count_nothing_that_is_not_on_disk() -> None:
    store = MemoryStore()
    ledger = Ledger(store, ENDPOINT, ALL)
    store.is_full = True
    with pytest.raises(StorageError):
        ledger.keep([_answer(0)])
    assert not ledger.is_answered(REQUESTS[0].request_hash)
    store.is_full = False
    ledger.keep([_answer(1)])
    store.is_full = True
    with pytest.raises(StorageError):
        ledger.flush()
    assert (ledger.sent.request_count, ledger.spent_usd) == (0, 0.0)


@pytest.mark.parametrize("before", [_answer(0, "length", text="half"), _answer(0, CUT, text="half"), _answer(0, text="half")])
def test_keep_lets_no_failure_take_the_place_of_an_answer(before: Answer) -> None:
    store = MemoryStore()
    store.write([before.model_dump_json()])
    ledger = Ledger(store, ENDPOINT, RetryRules(reasons=("length", CUT)))
    ledger.keep([_failed(0, at_risk_usd=0.25)])
    ledger.flush()
    key = REQUESTS[0].request_hash
    assert ledger.read([key])[key].completion_text == "half"
    assert (len(store.lines), ledger.sent.failed_count, ledger.failure(bytes.fromhex(key))) == (1, 1, None)
    assert Ledger(store, ENDPOINT, ALL).is_answered(key)
    ledger.keep([_answer(0, text="whole")])
    assert ledger.read([key])[key].completion_text == "whole"


def test_spent_usd_is_of_every_record_of_this_endpoint_and_model_and_no_other() -> None:
    other = [
        _answer(3, usd=100).model_copy(update={"endpoint": "http://other/v1"}),
        _answer(4, usd=100).model_copy(update={"teacher": "other"}),
    ]
    ours = [_failed(0, at_risk_usd=0.5), _answer(0, usd=2), _answer(1, "length", usd=3, at_risk_usd=0.25), _answer(1, usd=4)]
    unknown = [_answer(2, at_risk_usd=None).model_copy(update={"cost_usd": None})]
    assert _ledger(*ours, *other, *unknown).spent_usd == pytest.approx(9.75)
    assert _ledger(*ours, *other, endpoint=replace(ENDPOINT, model="other")).spent_usd == 100
    assert _ledger(*ours, endpoint=replace(ENDPOINT, model="third")).spent_usd == 0


def test_ledger_finds_answers_of_any_endpoint_by_their_keys() -> None:
    elsewhere = _answer(0).model_copy(update={"endpoint": "http://other/v1"})
    assert _missing(_ledger(elsewhere), REQUESTS[:2]) == [(["1"], 1)]


def test_failure_names_how_a_request_ended() -> None:
    ledger = _ledger(_answer(0), _answer(1, "length"), _failed(2), _answer(3, "content_filter"))
    kinds = [ledger.failure(bytes.fromhex(request.request_hash)) for request in REQUESTS[:5]]
    assert kinds == [None, None, "http_500", None, "never_asked"]
    assert [ledger.is_answered(request.request_hash) for request in REQUESTS[:5]] == [True, True, False, True, False]


def test_last_error_is_of_this_run() -> None:
    ledger = _ledger(_failed(0, "timeout"))
    assert ledger.last_error(["timeout", "http_500"]) is None
    ledger.keep([_failed(1), _failed(2, "connection")])
    assert ledger.last_error(["timeout", "http_500", "connection"]) == "http_500 said so"


def test_read_gives_the_newest_answers_and_leaves_foreign_records_out() -> None:
    store = MemoryStore()
    store.write([_failed(0).model_dump_json(), _answer(0).model_dump_json()])
    store.write([json.dumps({"request_hash": REQUESTS[1].request_hash, "cost_usd": "much"})])
    ledger = Ledger(store, ENDPOINT, ALL)
    keys = [request.request_hash for request in REQUESTS[:3]]
    assert ledger.read(keys) == {keys[0]: Answer.model_validate_json(store.lines[1])}
    assert ledger.read([]) == {}


def test_ledger_takes_keys_that_are_no_hash() -> None:
    ledger = _ledger(_answer(0).model_copy(update={"request_hash": "by hand"}))
    assert ledger.is_answered("by hand")
