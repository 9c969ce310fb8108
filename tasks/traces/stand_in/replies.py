"""A reply as the API sends it: a `chat.completion`, or a stream of chunks; tokens are estimates."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import time
from typing import Any

from tasks.traces.stand_in.wording import Reply, cut_reply

CHARS_PER_TOKEN = 4
FINGERPRINT = "stand-in, not a language model; token counts are estimates (4 characters a token)"
PIECE_CHARS = 300
HUGE_CHARS = 2_000_000
NOISE = "and so on, and on, with words that name no label, "
Json = dict[str, Any]  # a JSON object: each key has its own type


@dataclass(frozen=True)
class Envelope:
    """What stands around a reply: who answers whom, how long the prompt was, and how much of it was cached."""

    identifier: str
    model: str
    prompt_chars: int
    cached_chars: int
    reasoning_field: str = "reasoning_content"


def limited(reply: Reply, max_tokens: int | None) -> Reply:
    """The reply, cut off at the token limit as servers do."""
    chars = len(reply.reasoning or "") + len(reply.content)
    return cut_reply(reply, max_tokens * CHARS_PER_TOKEN) if max_tokens and count_tokens(chars) > max_tokens else reply


def enlarged(reply: Reply) -> Reply:
    """The reply with noise behind it, 2 MB in all."""
    return replace(reply, content=(reply.content + "\n\n" + NOISE * (HUGE_CHARS // len(NOISE)))[:HUGE_CHARS])


def completion(envelope: Envelope, reply: Reply, choice_count: int = 1) -> Json:
    """The reply as a `chat.completion` object."""
    choices = [
        {"index": index, "message": {"role": "assistant"} | parts(envelope, reply), "finish_reason": reply.finish_reason}
        for index in range(choice_count)
    ]
    return _head(envelope, "chat.completion") | {"choices": choices, "usage": usage(envelope, reply)}


def chunks(envelope: Envelope, reply: Reply, choice_count: int, has_usage: bool) -> Iterator[str]:
    """The reply as server-sent events: the role, the text in pieces, the finish reason, usage if it was asked for.

    Several choices come in turn; without any, usage alone.
    """
    head = _head(envelope, "chat.completion.chunk")

    def events(delta: Json, finish_reason: str | None = None) -> Iterator[str]:
        for index in range(choice_count):
            yield sse(head | {"choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]})

    yield from events({"role": "assistant", "content": ""})
    message = parts(envelope, reply)
    for name in sorted(message, key=lambda name: name == "content"):
        for start in range(0, len(message[name]), PIECE_CHARS):
            yield from events({name: message[name][start : start + PIECE_CHARS]})
    yield from events({}, reply.finish_reason)
    if has_usage:
        yield sse(head | {"choices": [], "usage": usage(envelope, reply)})
    yield "data: [DONE]\n\n"


def sse(content: Json) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def parts(envelope: Envelope, reply: Reply) -> dict[str, str]:
    """The message's texts by field; a `<think>` block stands at the head of the content."""
    if reply.reasoning is None:
        return {"content": reply.content}
    if envelope.reasoning_field != "think":
        return {"content": reply.content, envelope.reasoning_field: reply.reasoning}
    is_cut = reply.finish_reason == "length" and not reply.content
    return {"content": f"<think>\n{reply.reasoning}" + ("" if is_cut else f"\n</think>\n\n{reply.content}")}


def usage(envelope: Envelope, reply: Reply) -> Json:
    """Token counts, estimated."""
    reasoning, content = len(reply.reasoning or ""), len(reply.content)
    prompt_tokens, completion_tokens = count_tokens(envelope.prompt_chars), count_tokens(reasoning + content)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": min(prompt_tokens, count_tokens(envelope.cached_chars))},
        "completion_tokens_details": {"reasoning_tokens": count_tokens(reasoning)},
    }


def count_tokens(char_count: int) -> int:
    """Tokens of so many characters, estimated at four characters a token."""
    return -(-char_count // CHARS_PER_TOKEN)


def _head(envelope: Envelope, kind: str) -> Json:
    return {
        "id": f"stand-in-{envelope.identifier[:16]}",
        "object": kind,
        "created": int(time()),
        "model": envelope.model,
        "system_fingerprint": FINGERPRINT,
    }
