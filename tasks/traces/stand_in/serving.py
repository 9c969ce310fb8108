"""The stand-in teacher over HTTP: the part of the OpenAI API a client needs, and connections that break as told."""

import asyncio
import json
from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tasks.traces.stand_in.faults import drop_connection
from tasks.traces.stand_in.replies import Json, chunks, completion
from tasks.traces.stand_in.server import Order, StandInServer

HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"


def stand_in_app(server: StandInServer) -> Starlette:
    """The routes of a stand-in."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "model": server.manner.model})

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": server.manner.model, "object": "model", "owned_by": "stand-in"}]})

    async def stats(_: Request) -> Response:
        return JSONResponse(server.stats())

    return Starlette(
        routes=[
            Route("/v1/chat/completions", Completions(server), methods=["POST"]),
            Route("/v1/models", models),
            Route("/health", health),
            Route("/stats", stats),
        ]
    )


class Completions:
    """`POST /v1/chat/completions`, without the framework's objects around each request."""

    def __init__(self, server: StandInServer) -> None:
        """Answer with `server`."""
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        order = self._server.meet(await json_body(receive))
        if order.key:
            await asyncio.sleep(self._server.manner.faults.slow_ms / 1000)
        if order.refusal is not None:
            await send_whole(send, order.refusal.status, json.dumps(order.refusal.content).encode(), order.refusal.headers)
        elif order.fault == "hung":
            await self._hang(receive)
        elif order.fault == "dropped":
            await drop_connection(receive)
        elif order.fault == "wrong_content_type":
            await send_whole(send, 200, HTML.encode(), (("Content-Type", "text/html"),))
        else:
            await self._answer(order, receive, send)

    async def _hang(self, receive: Receive) -> None:
        gone = asyncio.ensure_future(receive())
        await asyncio.wait({gone}, timeout=self._server.manner.faults.hang_s)
        gone.cancel()
        await drop_connection(receive)

    async def _answer(self, order: Order, receive: Receive, send: Send) -> None:
        envelope, reply = await self._server.answer(order)
        choice_count = {"empty_choices": 0, "duplicate": 2}.get(order.fault or "", 1)
        if order.body.get("stream"):
            options = order.body.get("stream_options") or {}
            events = list(chunks(envelope, reply, choice_count, bool(options.get("include_usage"))))
            await self._stream(order.fault, events, receive, send)
            return
        content = json.dumps(completion(envelope, reply, choice_count), ensure_ascii=False).encode()
        if order.fault == "broken_json":
            content = content[: len(content) // 2]
        if order.fault != "cut_body":
            await send_whole(send, 200, content)
            return
        await send(start(200, len(content)))
        await send({"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True})
        await drop_connection(receive)

    async def _stream(self, fault: str | None, events: Sequence[str], receive: Receive, send: Send) -> None:
        if fault == "empty_choices":
            events = [*events[-2:]]
        if fault == "broken_json":
            events = [*events[: len(events) // 2], 'data: {"id": "broken\n\n']
        if fault == "cut_body":
            events = events[: max(2, len(events) // 2)]
        await send(start(200, None, "text/event-stream; charset=utf-8"))
        for event in events:
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
        if fault == "cut_body":
            await asyncio.sleep(0.01)  # what was sent gets out before the end
            await drop_connection(receive)
            return
        await send({"type": "http.response.body", "body": b""})


async def json_body(receive: Receive) -> Json:
    """The body as a JSON object; empty if it is none."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    try:
        content = json.loads(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def start(status: int, length: int | None, kind: str = "application/json", more: Sequence[tuple[str, str]] = ()) -> Json:
    """The ASGI message that opens a response."""
    headers = [("content-type", kind)] if not any(name.lower() == "content-type" for name, _ in more) else []
    headers += [("content-length", str(length))] if length is not None else []
    encoded = [(name.lower().encode(), value.encode()) for name, value in (*headers, *more)]
    return {"type": "http.response.start", "status": status, "headers": encoded}


async def send_whole(send: Send, status: int, content: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
    """Send a response at once."""
    await send(start(status, len(content), more=headers))
    await send({"type": "http.response.body", "body": content})
