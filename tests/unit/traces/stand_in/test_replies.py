import json

from tasks.traces.stand_in.replies import Envelope, chunks, completion, count_tokens, enlarged, limited
from tasks.traces.stand_in.wording import Reply

ENVELOPE = Envelope("0123456789abcdef0123", "m", 12, 8)


def _events(reply: Reply, choice_count: int = 1, has_usage: bool = True) -> list[str]:
    return [event.removeprefix("data: ").strip() for event in chunks(ENVELOPE, reply, choice_count, has_usage)]


def test_completion_counts_tokens_of_prompt_cache_answer_and_reasoning() -> None:
    assert completion(ENVELOPE, Reply("12345", "123456789"))["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert count_tokens(0) == 0


def test_limited_cuts_reasoning_first_and_says_length() -> None:
    cut = limited(Reply("x" * 100, "y" * 100), 30)
    assert cut.finish_reason == "length"
    assert (len(cut.reasoning or ""), len(cut.content)) == (100, 20)
    assert limited(Reply("x" * 100), 25).finish_reason == "stop"


def test_completion_names_reasoning_only_where_it_is_apart() -> None:
    assert "reasoning_content" not in completion(ENVELOPE, Reply("x"))["choices"][0]["message"]


def test_completion_puts_reasoning_where_the_server_has_it() -> None:
    named = Envelope("i", "m", 1, 0, "reasoning")
    assert completion(named, Reply("x", "y"))["choices"][0]["message"]["reasoning"] == "y"
    think = Envelope("i", "m", 1, 0, "think")
    assert completion(think, Reply("x", "y"))["choices"][0]["message"]["content"] == "<think>\ny\n</think>\n\nx"
    assert completion(think, Reply("", "y", "length"))["choices"][0]["message"]["content"] == "<think>\ny"


def test_chunks_add_up_to_the_reply_and_end_with_usage_and_done() -> None:
    events = _events(Reply("x" * 700, "y" * 400))
    assert events[-1] == "[DONE]"
    pieces = [json.loads(event) for event in events[:-1]]
    deltas = [piece["choices"][0]["delta"] for piece in pieces if piece["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == "x" * 700
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "y" * 400
    assert pieces[-2]["choices"][0]["finish_reason"] == "stop"
    assert (pieces[-1]["choices"], pieces[-1]["usage"]["completion_tokens"]) == ([], 275)
    assert not any("usage" in event for event in _events(Reply("x"), has_usage=False))


def test_chunks_of_two_choices_come_in_turn() -> None:
    pieces = [json.loads(event) for event in _events(Reply("x" * 400), choice_count=2)[:-2]]
    assert [[choice["index"] for choice in piece["choices"]] for piece in pieces] == [[0], [1]] * 4
    for index in (0, 1):
        assert "".join(p["choices"][0]["delta"].get("content", "") for p in pieces[index::2]) == "x" * 400


def test_chunks_without_choices_are_usage_alone() -> None:
    usage, done = _events(Reply("x"), choice_count=0)
    assert (json.loads(usage)["choices"], json.loads(usage)["usage"]["completion_tokens"], done) == ([], 1, "[DONE]")


def test_enlarged_keeps_the_answer_and_is_two_megabytes_long() -> None:
    huge = enlarged(Reply("the answer"))
    assert huge.content.startswith("the answer\n")
    assert len(huge.content) == 2_000_000
