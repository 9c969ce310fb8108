import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from schemas.config import FaultRates
from tasks.traces.prompts import OfferedLabel, Wish, candidates_prompt, open_prompt
from tasks.traces.stand_in.replies import completion
from tasks.traces.stand_in.server import StandInServer
from tests.unit.traces.stand_in.tiny_stand_in import DOCUMENTS, IDS, NAMES, known_all, tiny_server

Body = dict[str, Any]  # a JSON object: each key has its own type
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}


def _body(place: int = 0, form: str = "json", **more: Any) -> Body:  # JSON values of many types
    return {"model": "stand-in", "messages": open_prompt(DOCUMENTS[place], 60, ["a"], Wish(form=form)).messages()} | more


def _completion(server: StandInServer, body: Body) -> Body:
    envelope, reply = asyncio.run(server.answer(server.meet(body)))
    return completion(envelope, reply)


def _text(server: StandInServer, body: Body) -> str:
    message = _completion(server, body)["choices"][0]["message"]
    return str(message.get("reasoning_content")) + str(message["content"])


def test_stats_count_every_question_and_every_outcome() -> None:
    server = tiny_server(FaultRates(schedule=("ok", "refusal", "hung")))
    for body in (_body(), _body(), _body(1, seed=4), _body(model="gpt")):
        server.meet(body)
    stats = server.stats()
    assert stats["outcomes"] == {"answered": 1, "refusal": 1, "hung": 1, "bad_request": 1}
    assert stats["request_count"] == 4
    assert sorted(stats["by_messages"].values()) == [1, 2]
    assert [key.endswith(":4") for key, count in stats["by_messages"].items() if count == 1] == [True]


def test_answer_without_temperature_is_always_the_same() -> None:
    server = tiny_server(known=known_all())
    assert _text(server, _body()) == _text(server, _body()) == _text(tiny_server(known=known_all()), _body())


def test_answer_with_a_seed_is_drawn_from_it_and_repeats() -> None:
    server = tiny_server(known=known_all())
    texts = [_text(server, _body(seed=seed, temperature=1.0)) for seed in (1, 2, 3, 1, 2, 3)]
    assert texts[:3] == texts[3:]
    assert len(set(texts)) == 3
    assert _text(tiny_server(known=known_all(), seed=5), _body(seed=1, temperature=1.0)) != texts[0]


def test_answer_with_temperature_alone_is_drawn_anew_every_time() -> None:
    texts = [[_text(server, _body(temperature=0.7)) for _ in range(4)] for server in (tiny_server(), tiny_server())]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 4


def test_answers_of_several_seeds_differ_by_few_verdicts() -> None:
    server = tiny_server(known=known_all(), answer_format="json")
    verdicts = [
        [
            step["verdict"]
            for step in json.loads(_completion(server, _body(seed=seed))["choices"][0]["message"]["content"])["steps"]
        ]
        for seed in range(40)
    ]
    usual = Counter(map(tuple, verdicts)).most_common(1)[0][0]
    differing = [sum(a != b for a, b in zip(usual, each, strict=True)) for each in verdicts]
    assert 0 < sum(map(bool, differing)) < 40
    assert max(differing) <= 3


def test_answer_counts_a_known_system_message_as_cached() -> None:
    server = tiny_server()
    usages = [_completion(server, body)["usage"] for body in (_body(), _body(1), _body(form="tagged"))]
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    assert cached == [0, -(-len(_body()["messages"][0]["content"]) // 4), 0]
    assert cached[1] < usages[1]["prompt_tokens"]
    assert usages[0]["completion_tokens_details"]["reasoning_tokens"] > 50


def test_answer_obeys_the_schema_of_offered_labels() -> None:
    offered = [OfferedLabel(int(i), name) for i, name in zip(IDS[:20], NAMES[:20], strict=True)]
    prompt = candidates_prompt(DOCUMENTS[0], offered, Wish("both", "json_schema"))
    body = {"model": "stand-in", "messages": prompt.messages(), "response_format": SCHEMA}
    content = json.loads(_completion(tiny_server(answer_format="tagged"), body)["choices"][0]["message"]["content"])
    ids = set(IDS[:20].tolist())
    assert all(set(item) == {"id"} and item["id"] in ids for item in content["shortlist"])
    assert all(step["compared_to"] in ids | {None} and step["verdict"] in ("keep", "drop") for step in content["steps"])
    assert [item["id"] for item in content["answer"]] == [step["id"] for step in content["steps"] if step["verdict"] == "keep"]


def test_answer_judges_all_of_a_shortlist_given_with_numbers() -> None:
    offered = [OfferedLabel(int(i), name) for i, name in zip(IDS[:25], NAMES[:25], strict=True)]
    prompt = candidates_prompt(DOCUMENTS[0], offered, Wish("phase-2-index", "json"))
    body = {"model": "stand-in", "messages": prompt.messages()}
    content = json.loads(_completion(tiny_server(answer_format="asked"), body)["choices"][0]["message"]["content"])
    assert set(content) == {"steps", "answer"}
    assert [step["label"] for step in content["steps"]] == [f"[{label.label_id}] {label.name}" for label in offered]


def test_answer_ends_at_the_token_limit_under_either_name() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = _completion(tiny_server(), _body() | {name: 20})
        assert (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 20)
    assert _completion(tiny_server(), _body(max_tokens="20"))["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"model": "gpt"}, 404, "model_not_found"),
        ({"n": 2}, 400, "unsupported_value"),
        ({"response_format": SCHEMA}, 400, "unsupported_parameter"),
        ({"messages": []}, 400, "no_document"),
        ({"messages": [None]}, 400, "no_document"),
        ({"messages": {"role": "user"}}, 400, "no_document"),
        ({"messages": ["x", *_body()["messages"]]}, 400, "invalid_message"),
        ({"messages": [{"role": "user", "content": "\n<document>\n\ud800\n</document>"}]}, 400, "no_document"),
        ({"messages": [{"role": "system", "content": "\ud800"}, _body()["messages"][1]]}, 400, "invalid_message"),
    ],
)
def test_meet_refuses_what_it_does_not_take(changes: Body, status: int, code: str) -> None:
    order = tiny_server(structured_output="refused").meet(_body(**changes))
    assert order.refusal is not None
    assert (order.refusal.status, order.refusal.code) == (status, code)


def test_meet_refuses_a_schema_by_name() -> None:
    order = tiny_server(structured_output="refused").meet(_body(response_format=SCHEMA))
    assert "response_format" in str(order.refusal)


def test_meet_overlooks_unknown_fields_and_text_as_the_format() -> None:
    order = tiny_server(structured_output="refused").meet(_body(n=None, logit_bias=[1], response_format={"type": "text"}))
    assert order.refusal is None
