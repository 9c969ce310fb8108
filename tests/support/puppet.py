"""A teacher whose every answer the test decides: a function from request to response, served over real HTTP."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.serving import serving

Body = dict[str, Any]  # a JSON object: each key has its own type
Decide = Callable[[Body, dict[str, str]], Response]


def answer(content: str, reasoning: str | None = None, finish_reason: str = "stop") -> Response:
    """A whole completion with this text."""
    message = {"role": "assistant", "content": content} | ({"reasoning_content": reasoning} if reasoning else {})
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return JSONResponse({"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage})


@contextmanager
def puppet(decide: Decide, delay_s: float = 0.0) -> Iterator[str]:
    """The base URL of a server that answers as `decide` says, after a while, for the block."""

    async def complete(request: Request) -> Response:
        response = decide(json.loads(await request.body()), dict(request.headers))
        await asyncio.sleep(delay_s)
        return response

    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])
    with serving(app) as address:
        yield f"{address}/v1"
