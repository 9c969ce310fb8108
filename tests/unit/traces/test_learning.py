import pytest

from tasks.traces.answers import Answer, Received, answered, failed
from tasks.traces.endpoints import Endpoint
from tasks.traces.learning import LADDER, LAST_FORM, PROBES, is_followed
from tasks.traces.money import Prices, Usage
from tasks.traces.prompts import open_prompt
from tasks.traces.requests import make_request

ENDPOINT = Endpoint("http://host/v1", "model", "open", 0.0, 100)
LIST = '"shortlist": [{"label": "vim"}]'
JSON = f'{{{LIST}, "steps": [], "answer": []}}'
TAGGED = "<shortlist>\nvim\n</shortlist>\n<reasoning>\n</reasoning>\n<answer>\nvim\n</answer>"


def _answer(text: str, variant: str = "both", reasoning: str | None = None) -> Answer:
    request = make_request(ENDPOINT, "d", "train", open_prompt("text", 2, ["a"]), variant)
    return answered(request, ENDPOINT, Prices(), Received(text, reasoning, "stop", Usage()), 1, None)


def _failed() -> Answer:
    return failed(make_request(ENDPOINT, "d", "train", open_prompt("text", 2, ["a"])), ENDPOINT, 1, "http_500", JSON)


@pytest.mark.parametrize(
    ("texts", "followed"),
    [
        ([JSON], True),
        (["no"], False),
        ([JSON, JSON, "no"], True),
        ([JSON, "no", "no"], False),
        ([JSON, "no"], False),
        ([], None),
    ],
)
@pytest.mark.parametrize("form", ["json", "json_schema"])
def test_is_followed_takes_more_than_half(form: str, texts: list[str], followed: bool | None) -> None:
    assert is_followed(form, [_answer(text) for text in texts]) is followed


def test_is_followed_leaves_failures_out() -> None:
    assert is_followed("json", [_failed(), _failed(), _answer(JSON)]) is True
    assert is_followed("json", [_failed(), _answer(JSON), _answer("no")]) is False
    assert is_followed("json", [_failed()] * 3) is None


def test_is_followed_goes_by_the_form_and_the_variant() -> None:
    assert is_followed("tagged", [_answer(TAGGED)]) is True
    assert is_followed("tagged", [_answer(JSON)]) is False
    assert is_followed("json", [_answer(f"{{{LIST}}}", "phase-1")]) is True
    assert is_followed("json", [_answer(f"{{{LIST}}}", "both")]) is False
    assert is_followed("free", [_answer("", reasoning="hm")]) is True


def test_the_ladder_ends_in_free_text() -> None:
    assert (*LADDER, LAST_FORM) == ("json_schema", "tagged", "free")
    assert PROBES >= 3
