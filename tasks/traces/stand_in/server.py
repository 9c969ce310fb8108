"""The stand-in teacher over HTTP: the part of the OpenAI API a client needs, with faults on request, and counts of them."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from schemas.config import FaultRates
from tasks.traces.endpoints import canonical_hash
from tasks.traces.prompts import read_document, read_offered
from tasks.traces.stand_in.thinking import Question, Thought
from tasks.traces.stand_in.wording import Reply, Writer, cut_reply, refusal

CHARS_PER_TOKEN = 4
FINGERPRINT = "stand-in, not a language model; token counts are estimates (4 characters a token)"
RETRY_AFTER_MS = 50
THINK_TOGETHER = 32
"""Questions that wait are thought about together: one matrix product for all."""

FAULTS = ("rate_limited", "server_error", "broken_json", "cut_off", "refusal")


@dataclass(frozen=True)
class Manner:
    """How the stand-in answers: the name it goes by, the format, the seed of its wording and faults."""

    model: str
    answer_format: str
    seed: int
    faults: FaultRates


class StandInServer:
    """Answers chat completions with thoughts; counts what it served."""

    def __init__(
        self, think: Callable[[Sequence[Question]], list[Thought]], short_names: Mapping[str, str], manner: Manner
    ) -> None:
        """Serve what `think` gives; `short_names` are the label names that may be shortened."""
        self._think = think
        self._short_names = short_names
        self._manner = manner
        self._attempts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._waiting: list[tuple[Question, asyncio.Future[Thought]]] = []
        self._thinking: asyncio.Task[None] | None = None

    def app(self) -> Starlette:
        """The routes."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/health", self._health),
                Route("/stats", self._stats),
            ]
        )

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "model": self._manner.model})

    async def _models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": self._manner.model, "object": "model", "owned_by": "stand-in"}]})

    async def _stats(self, _: Request) -> Response:
        counts = dict(sorted(self._outcomes.items()))
        total = sum(counts.values())
        return JSONResponse({"request_count": total, "outcomes": counts, "distinct_messages_count": len(self._attempts)})

    async def _complete(self, request: Request) -> Response:
        body = await _json_body(request)
        wrong = self._refuse(body)
        if wrong:
            self._outcomes["bad_request"] += 1
            return wrong
        messages = body["messages"]
        messages_hash = canonical_hash(messages)
        self._attempts[messages_hash] += 1
        fault = draw_fault(self._manner.faults, self._manner.seed, messages_hash, self._attempts[messages_hash])
        self._outcomes[fault or "answered"] += 1
        await asyncio.sleep(self._manner.faults.slow_ms / 1000)
        if fault == "rate_limited":
            headers = {"Retry-After": "1", "Retry-After-Ms": str(RETRY_AFTER_MS)}
            return _error(429, "the stand-in was told to limit its rate", "rate_limit_exceeded", headers)
        if fault == "server_error":
            return _error(500, "the stand-in was told to fail", "server_error")
        reply = await self._reply(messages[-1]["content"], messages_hash, fault)
        content = completion(self._manner.model, messages, reply, body.get("max_completion_tokens") or body.get("max_tokens"))
        text = json.dumps(content, ensure_ascii=False)
        return Response(text[: len(text) // 2] if fault == "broken_json" else text, media_type="application/json")

    def _refuse(self, body: dict[str, Any]) -> Response | None:
        if body.get("model") not in (self._manner.model, "stand-in"):
            return _error(404, f"model {body.get('model')!r} does not exist; here is {self._manner.model!r}", "model_not_found")
        if body.get("stream") or body.get("n", 1) != 1:
            return _error(400, "the stand-in gives one answer at once: no `stream`, `n` must be 1", "unsupported_value")
        messages = body.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        content = last.get("content") if isinstance(last, dict) else None
        if not isinstance(content, str) or read_document(content) is None:
            return _error(400, "the last message must end with the document between <document> and </document>", "no_document")
        return None

    async def _reply(self, user: str, messages_hash: str, fault: str | None) -> Reply:
        draw = random.Random(f"{self._manner.seed}:{messages_hash}")
        if fault == "refusal":
            return refusal(draw)
        question = Question(read_document(user) or "", read_offered(user))
        thought = await self._thought(question)
        title = question.text.strip().partition("\n")[0]
        reply = Writer(draw, self._short_names, question.offered is not None).write(thought, title, self._manner.answer_format)
        if fault != "cut_off":
            return reply
        return cut_reply(reply, int((len(reply.reasoning or "") + len(reply.content)) * draw.uniform(0.3, 0.9)))

    async def _thought(self, question: Question) -> Thought:
        answered: asyncio.Future[Thought] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answered))
        if self._thinking is None or self._thinking.done():
            self._thinking = asyncio.create_task(self._think_on())
        return await answered

    async def _think_on(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:THINK_TOGETHER], self._waiting[THINK_TOGETHER:]
            try:
                thoughts = await asyncio.to_thread(self._think, [question for question, _ in batch])
            except Exception as exc:  # whatever it is, those who wait must hear of it
                for _, answered in batch:
                    answered.set_exception(exc)
                continue
            for (_, answered), thought in zip(batch, thoughts, strict=True):
                if not answered.done():
                    answered.set_result(thought)


async def _json_body(request: Request) -> dict[str, Any]:  # a request body: each key has its own type
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def draw_fault(faults: FaultRates, seed: int, messages_hash: str, attempt: int) -> str | None:
    """The fault of one attempt at one request, or none; a retry draws again."""
    drawn = random.Random(f"{seed}:{messages_hash}:{attempt}").random()
    for name in FAULTS:
        drawn -= getattr(faults, name)
        if drawn < 0:
            return name
    return None


def completion(model: str, messages: list[dict[str, str]], reply: Reply, max_tokens: int | None) -> dict[str, Any]:
    """The reply as a `chat.completion` object, cut off at the token limit as servers do."""
    reasoning_length = len(reply.reasoning or "")
    if max_tokens and count_tokens(reasoning_length + len(reply.content)) > max_tokens:
        reply = cut_reply(reply, max_tokens * CHARS_PER_TOKEN)
        reasoning_length = len(reply.reasoning or "")
    prompt_tokens = count_tokens(sum(len(message["content"]) for message in messages))
    completion_tokens = count_tokens(reasoning_length + len(reply.content))
    message = {"role": "assistant", "content": reply.content}
    if reply.reasoning is not None:
        message["reasoning_content"] = reply.reasoning
    return {
        "id": f"stand-in-{canonical_hash(messages)[:16]}",
        "object": "chat.completion",
        "created": int(time()),
        "model": model,
        "system_fingerprint": FINGERPRINT,
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "completion_tokens_details": {"reasoning_tokens": count_tokens(reasoning_length)},
        },
    }


def count_tokens(char_count: int) -> int:
    """Tokens of so many characters, estimated at four characters a token."""
    return -(-char_count // CHARS_PER_TOKEN)


def _error(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> Response:
    content = {"error": {"message": message, "type": code, "param": None, "code": code}}
    return JSONResponse(content, status_code=status, headers=headers)
