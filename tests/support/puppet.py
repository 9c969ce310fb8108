"""A teacher whose every answer the test decides: a function from request to response, served over real HTTP."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join(10)
