"""Every fault of a server, alone and together, streamed and not: each document ends with an answer or a row that says why."""

from pathlib import Path

import polars as pl
import pytest

from schemas.config import FAULTS, FaultRates
from tasks.traces.stand_in.server import StandInServer
from tests.support.asked_run import COUNT, asked

KEPT_AS_THEY_ARE = {"cut_off", "content_filter", "refusal", "huge", "duplicate"}
"""Answers, if not good ones: they are not asked for again."""

BREAKS_STREAMS = {"cut_body", "broken_json"}
"""In a stream these come after some text: asked once more, then what came is kept."""

KINDS = {
    "rate_limited": "http_429", "rate_limited_bare": "http_429", "server_error": "http_500", "hung": "timeout",
    "wrong_content_type": "wrong_content_type", "empty_choices": "empty_choices",
}  # fmt: skip
"""Faults after which no text has come. Connections that all break are a teacher that is gone: tested with the client."""


def add_up(frame: pl.DataFrame, server: StandInServer) -> None:
    """Every document has one row, with an answer or an error, and the server was asked as often as the rows say."""
    assert sorted(frame["document_id"]) == sorted([f"d{i}" for i in range(COUNT)] + ["t"])
    assert frame.filter(pl.col("completion_text").is_null() == pl.col("error_kind").is_null()).is_empty()
    assert frame.filter(pl.col("error_kind").is_not_null() & pl.col("error_text").is_null()).is_empty()
    assert server.stats()["request_count"] == frame["attempt_count"].sum()


@pytest.mark.parametrize("stream", ["off", "on"])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_in_three_requests_leaves_every_document_answered(tmp_path: Path, fault: str, stream: str) -> None:
    with asked(tmp_path, FaultRates.model_validate({fault: 0.3})) as teacher:
        patience = 0.6 if fault == "hung" else 20.0  # 2 MB in pieces take their time on a busy machine
        frame = teacher.traces(stream=stream, timeout_s=patience, idle_timeout_s=patience)
        add_up(frame, teacher.server)
        outcomes = teacher.server.stats()["outcomes"]
    assert frame["error_kind"].null_count() == frame.height, frame["error_text"].drop_nulls().to_list()
    assert outcomes[fault] >= 4
    if fault in KEPT_AS_THEY_ARE:
        assert set(frame["attempt_count"]) == {1}
    cut = frame.filter(pl.col("finish_reason").is_in(["length", "connection_cut"])).height
    if fault == "cut_off":
        assert cut == outcomes[fault]
    elif not (stream == "on" and fault in BREAKS_STREAMS):
        assert cut == 0


@pytest.mark.parametrize("stream", ["off", "on"])
@pytest.mark.parametrize("fault", sorted(KINDS))
def test_a_fault_that_never_passes_ends_as_a_row_that_says_which(tmp_path: Path, fault: str, stream: str) -> None:
    with asked(tmp_path, FaultRates.model_validate({fault: 1.0})) as teacher:
        patience = 0.1 if fault == "hung" else 20.0
        frame = teacher.traces(stream=stream, max_attempts=2, timeout_s=patience, idle_timeout_s=patience)
        add_up(frame, teacher.server)
    assert set(frame["error_kind"]) == {KINDS[fault]}
    assert set(frame["attempt_count"]) == {2}


def test_a_stream_that_is_always_cut_keeps_what_came(tmp_path: Path) -> None:
    with asked(tmp_path, FaultRates(cut_body=1.0)) as teacher:
        frame = teacher.traces(stream="on", max_cut_attempts=2)
        add_up(frame, teacher.server)
    assert set(frame["finish_reason"]) == {"connection_cut"}
    assert set(frame["attempt_count"]) == {2}
    assert frame["reasoning_text"].str.len_chars().min() > 50  # type: ignore[operator]  # no nulls: asserted by comparison
    assert frame["prompt_tokens"].null_count() == frame.height


@pytest.mark.parametrize("stream", ["off", "on"])
def test_all_faults_together_leave_every_document_with_an_answer_or_a_reason(tmp_path: Path, stream: str) -> None:
    rates = dict.fromkeys(FAULTS, 0.05)
    with asked(tmp_path, FaultRates.model_validate(rates)) as teacher:
        frame = teacher.traces(stream=stream, max_attempts=4)
        add_up(frame, teacher.server)
        failed = frame.filter(pl.col("error_kind").is_not_null())
        again = teacher.traces(stream=stream, max_attempts=30)
    assert failed.height < frame.height / 3
    assert again["error_kind"].null_count() == again.height
    kept = frame.filter(pl.col("error_kind").is_null())
    assert kept.join(again, on=kept.columns, how="semi", nulls_equal=True).height == kept.height, "an answer was asked again"


def test_faults_come_by_schedule(tmp_path: Path) -> None:
    schedule = ("ok", "rate_limited", "hung", "empty_choices", "server_error")
    with asked(tmp_path, FaultRates(schedule=schedule)) as teacher:
        frame = teacher.traces(concurrency=1)
        outcomes = teacher.server.stats()["outcomes"]
    assert {name: outcomes[name] for name in schedule[1:]} == dict.fromkeys(schedule[1:], 1)
    assert frame["attempt_count"].sum() == frame.height + 4
