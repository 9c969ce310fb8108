"""Every fault as it arrives at a socket, from a real server in a thread."""

import email.utils
import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from schemas.config import FAULTS, FaultRates
from tasks.traces.prompts import open_prompt
from tasks.traces.stand_in.serving import stand_in_app
from tests.support.serving import serving
from tests.unit.traces.stand_in.tiny_stand_in import DOCUMENTS, tiny_server

MESSAGES = open_prompt(DOCUMENTS[0], 60, ["a"]).messages()
HANG_S = 0.1
SCHEDULE = FAULTS * 2
"""Each fault once in a whole answer, then once in a stream."""

Answer = tuple[int, dict[str, str], bytes]


def _post(host: str, **more: Any) -> Answer:  # JSON values of many types
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps({"model": "stand-in", "messages": MESSAGES} | more))
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def _outcome(host: str, **more: Any) -> Answer | Exception:  # as above
    try:
        return _post(host, **more)
    except (http.client.HTTPException, OSError) as exc:
        return exc


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[tuple[str, bool], Answer | Exception]]:
    server = tiny_server(FaultRates(schedule=SCHEDULE, hang_s=HANG_S))
    with serving(stand_in_app(server)) as address:
        host = address.removeprefix("http://")
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        found = {
            (fault, is_streamed): _outcome(host, **(streamed if is_streamed else {}))
            for is_streamed in (False, True)
            for fault in FAULTS
        }
        found["ok", False], found["ok", True] = _outcome(host), _outcome(host, **streamed)
        assert server.stats()["outcomes"] == dict.fromkeys(FAULTS, 2) | {"answered": 2}
        yield found


def _answer(outcome: Answer | Exception) -> Answer:
    assert not isinstance(outcome, Exception), outcome
    return outcome


def _events(outcome: Answer | Exception) -> list[str]:
    _, headers, content = _answer(outcome)
    assert headers["content-type"].startswith("text/event-stream")
    return [event.removeprefix("data: ") for event in content.decode().split("\n\n") if event]


def _choice(outcome: Answer | Exception, place: int = 0) -> Any:  # a JSON object
    return json.loads(_answer(outcome)[2])["choices"][place]


def _texts(events: list[str]) -> dict[tuple[int, str], str]:
    texts: dict[tuple[int, str], str] = {}
    for event in events[:-1]:
        for choice in json.loads(event)["choices"]:
            for name in ("content", "reasoning_content"):
                key = (choice["index"], name)
                texts[key] = texts.get(key, "") + choice["delta"].get(name, "")
    return texts


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "status"), [("rate_limited", 429), ("rate_limited_bare", 429), ("server_error", 500), ("unavailable", 503)]
)
def test_statuses(outcomes: Any, fault: str, status: int, is_streamed: bool) -> None:
    found, headers, content = _answer(outcomes[fault, is_streamed])
    assert (found, headers["content-type"]) == (status, "application/json")
    assert json.loads(content)["error"]["message"]
    assert {"retry-after", "retry-after-ms"} & set(headers) == {
        "rate_limited": {"retry-after", "retry-after-ms"},
        "unavailable": {"retry-after"},
    }.get(fault, set())


def test_unavailable_says_until_when_as_a_date(outcomes: Any) -> None:
    until = email.utils.parsedate_to_datetime(_answer(outcomes["unavailable", False])[1]["retry-after"])
    assert abs((until - datetime.now(UTC)).total_seconds()) < 10


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("fault", ["dropped", "hung"])
def test_a_dropped_or_hung_connection_ends_without_a_byte(outcomes: Any, fault: str, is_streamed: bool) -> None:
    assert isinstance(outcomes[fault, is_streamed], (http.client.RemoteDisconnected, ConnectionResetError))


def test_cut_body_ends_in_the_middle_of_the_answer(outcomes: Any) -> None:
    whole = _answer(outcomes["ok", False])[2]
    cut = outcomes["cut_body", False]
    if isinstance(cut, http.client.IncompleteRead):  # else the reset came first
        assert abs(len(cut.partial) + (cut.expected or 0) - len(whole)) < 10
        assert len(cut.partial) > 100
    else:
        assert isinstance(cut, ConnectionResetError)
    assert isinstance(outcomes["cut_body", True], (http.client.IncompleteRead, ConnectionResetError))


def test_a_stream_says_what_a_whole_answer_says(outcomes: Any) -> None:
    events = _events(outcomes["ok", True])
    message = _choice(outcomes["ok", False])["message"]
    assert events[-1] == "[DONE]"
    assert _texts(events) == {(0, name): message[name] for name in ("content", "reasoning_content")}
    usages = [json.loads(events[-2])["usage"], json.loads(_answer(outcomes["ok", False])[2])["usage"]]
    assert usages[0]["completion_tokens"] == usages[1]["completion_tokens"] > 0


@pytest.mark.parametrize(("fault", "reason"), [("cut_off", "length"), ("content_filter", "content_filter"), ("refusal", "stop")])
def test_finish_reasons(outcomes: Any, fault: str, reason: str) -> None:
    choice, events = _choice(outcomes[fault, False]), _events(outcomes[fault, True])
    assert choice["finish_reason"] == json.loads(events[-3])["choices"][0]["finish_reason"] == reason


def test_a_refusal_is_prose_and_filtered_content_is_empty(outcomes: Any) -> None:
    assert _choice(outcomes["refusal", False])["message"]["content"].startswith("I'm ")
    assert _choice(outcomes["content_filter", False])["message"] == {"role": "assistant", "content": ""}
    whole, cut = (_choice(outcomes[fault, False])["message"]["reasoning_content"] for fault in ("ok", "cut_off"))
    assert whole.startswith(cut)


def test_broken_json_is_no_json(outcomes: Any) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(_answer(outcomes["broken_json", False])[2])
    *before, last = _events(outcomes["broken_json", True])
    assert all(json.loads(event) for event in before)
    with pytest.raises(json.JSONDecodeError):
        json.loads(last)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_wrong_content_type_is_a_page(outcomes: Any, is_streamed: bool) -> None:
    status, headers, content = _answer(outcomes["wrong_content_type", is_streamed])
    assert (status, headers["content-type"], content[:6]) == (200, "text/html", b"<html>")


def test_empty_choices_are_empty(outcomes: Any) -> None:
    assert json.loads(_answer(outcomes["empty_choices", False])[2])["choices"] == []
    usage, done = _events(outcomes["empty_choices", True])
    assert (json.loads(usage)["choices"], done) == ([], "[DONE]")


def test_a_huge_answer_begins_with_the_real_one(outcomes: Any) -> None:
    whole, huge = (_choice(outcomes[fault, False])["message"]["content"] for fault in ("ok", "huge"))
    assert huge.startswith(whole + "\n\n")
    assert len(huge) == 2_000_000
    assert _texts(_events(outcomes["huge", True]))[0, "content"] == huge


def test_a_duplicate_answer_comes_as_two_choices(outcomes: Any) -> None:
    first, second = (_choice(outcomes["duplicate", False], place) for place in (0, 1))
    assert (first["index"], second["index"], first["message"]) == (0, 1, second["message"])
    texts = _texts(_events(outcomes["duplicate", True]))
    assert texts[0, "content"] == texts[1, "content"] == first["message"]["content"]


def test_a_hung_request_ends_when_the_client_goes() -> None:
    with serving(stand_in_app(tiny_server(FaultRates(hung=1.0)))) as address:
        began = time.monotonic()
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=0.05)
        connection.request("POST", "/v1/chat/completions", json.dumps({"model": "stand-in", "messages": MESSAGES}))
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()
    assert time.monotonic() - began < 1.0, "the server waited for a request that nobody waits for"


def test_requests_that_come_together_wait_the_same_pause() -> None:
    with serving(stand_in_app(tiny_server(FaultRates(slow_ms=200.0)))) as address, ThreadPoolExecutor(16) as pool:
        began = time.monotonic()
        done = list(pool.map(lambda seed: _post(address.removeprefix("http://"), seed=seed)[0], range(16)))
        assert 0.2 <= time.monotonic() - began < 1.0
    assert done == [200] * 16


def test_other_routes_and_methods() -> None:
    client = TestClient(stand_in_app(tiny_server()))
    assert client.get("/v1/models").json()["data"][0]["id"] == client.get("/health").json()["model"] == "stand-in"
    assert client.get("/v1/chat/completions").status_code == 405
    assert client.post("/v1/other").status_code == 404
    assert client.post("/v1/chat/completions", content=b"[" * 100_000).status_code == 404
    assert client.get("/stats").json()["outcomes"] == {"bad_request": 1}
