import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from schemas.config import FaultRates
from schemas.errors import ConfigError
from tasks.traces.prompts import open_prompt
from tasks.traces.stand_in import batch
from tasks.traces.stand_in.batch import answer_batch, read_batch
from tests.unit.traces.stand_in.tiny_stand_in import DOCUMENTS, tiny_server


def _line(number: int, **changes: Any) -> str:  # JSON values of many types
    messages = open_prompt(DOCUMENTS[number % len(DOCUMENTS)], 60, ["a"]).messages()
    request = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions"}
    return json.dumps(request | {"body": {"model": "stand-in", "messages": messages}} | changes)


def _answered(
    lines: Iterable[str], faults: FaultRates | None = None, **settings: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:  # JSON objects
    output, errors = asyncio.run(answer_batch(tiny_server(faults), lines, **settings))
    return [json.loads(line) for line in output], [json.loads(line) for line in errors]


def test_answer_batch_answers_every_request_once_in_an_order_drawn_from_the_seed() -> None:
    lines = [_line(i) for i in range(20)]
    output, errors = _answered(lines, seed=1)
    names = [result["custom_id"] for result in output]
    assert errors == []
    assert sorted(names) == sorted(f"r{i}" for i in range(20))
    assert names != [f"r{i}" for i in range(20)]
    assert names == [result["custom_id"] for result in _answered(lines, seed=1)[0]]
    assert names != [result["custom_id"] for result in _answered(lines, seed=2)[0]]
    assert {(r["error"], r["response"]["status_code"], r["response"]["body"]["object"]) for r in output} == {
        (None, 200, "chat.completion")
    }


def test_answer_batch_writes_refused_requests_to_the_error_file() -> None:
    output, errors = _answered(map(_line, range(4)), FaultRates(schedule=("server_error", "ok", "rate_limited", "dropped")))
    by_id = {result["custom_id"]: result for result in errors}
    assert [result["custom_id"] for result in output] == ["r1"]
    assert [by_id[name]["response"]["status_code"] for name in ("r0", "r2")] == [500, 429]
    assert by_id["r0"]["response"]["body"]["error"]["code"] == "server_error"
    assert (by_id["r3"]["response"], by_id["r3"]["error"]["code"]) == (None, "batch_expired")


def test_answer_batch_writes_expired_requests_without_a_response() -> None:
    output, errors = _answered([_line(i) for i in range(40)], expired_frac=0.5)
    assert len(output) + len(errors) == 40
    assert 10 < len(errors) < 30
    assert {(result["response"], result["error"]["code"]) for result in errors} == {(None, "batch_expired")}


def test_answer_batch_does_not_stream() -> None:
    body = json.loads(_line(0))["body"] | {"stream": True}
    (result,), _ = _answered([_line(0, body=body)])
    assert result["response"]["body"]["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no request"),
        ([_line(0), _line(0)], "line 2: custom_id 'r0' is not unique"),
        ([_line(0), "{"], "line 2: is no request"),
        (["[]"], "line 1: is no request"),
        ([_line(0, custom_id=7)], "line 1: custom_id must be text"),
        ([_line(0, method="GET")], "line 1: method must be POST"),
        ([_line(0, url="/v1/embeddings")], "line 1: method must be POST and url /v1/chat/completions"),
        ([_line(0), _line(1, body={"model": "other"})], "line 2: model 'other', line 1 has 'stand-in'; one model a file"),
    ],
)
def test_read_batch_refuses_what_the_api_refuses(lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_batch(lines)


@pytest.mark.parametrize(("limit", "value"), [("MAX_REQUESTS", 2), ("MAX_BYTES", 2500)])
def test_read_batch_stops_at_the_limits_of_a_file(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, limit, value)
    with pytest.raises(ConfigError, match=r"line \d: a file holds at most"):
        read_batch(map(_line, range(5)))
