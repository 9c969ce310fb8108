"""The stand-in teacher over HTTP: the part of the OpenAI API a client needs, and connections that break as told."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tasks.traces.stand_in.faults import drop_connection
from tasks.traces.stand_in.replies import Json, chunks, completion
from tasks.traces.stand_in.server import Order, StandInServer

COMPLETIONS = "/v1/chat/completions"
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
BROKEN_EVENT = 'data: {"id": "broken\n\n'
FLUSH_S = 0.01
"""What was sent gets out in this time, before the connection is broken."""


def stand_in_app(server: StandInServer) -> Starlette:
    """The routes of a stand-in."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "model": server.manner.model})

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": server.manner.model, "object": "model", "owned_by": "stand-in"}]})

    async def stats(_: Request) -> Response:
        return JSONResponse(server.stats())

    completions = Completions(server)
    app = _App(
        routes=[
            Route(COMPLETIONS, completions, methods=["POST"]),
            Route("/v1/models", models),
            Route("/health", health),
            Route("/stats", stats),
        ]
    )
    app.completions = completions
    return app


class _App(Starlette):
    """An application whose busy route is found without asking the router, which takes as long as the answer."""

    completions: "Completions"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == COMPLETIONS and scope["method"] == "POST":
            await self.completions(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


@dataclass(frozen=True)
class Sending:
    """What goes out for a request; without pieces nothing does. `length` is what the head announces: null for a stream."""

    pieces: Sequence[bytes]
    length: int | None = None
    status: int = 200
    kind: str = "application/json"
    headers: Sequence[tuple[str, str]] = ()
    is_broken_off: bool = False
    """The connection is closed after the last piece, or without any."""


class Completions:
    """`POST /v1/chat/completions`, without the framework's objects around each request."""

    def __init__(self, server: StandInServer) -> None:
        """Answer with `server`."""
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; it is worked on while its pause runs."""
        clock = asyncio.get_running_loop().time
        due = clock() + self._server.manner.faults.slow_ms / 1000
        await asyncio.sleep(0)  # the pauses of requests that came together begin together
        order = self._server.meet(await json_body(receive))
        sending = await self._prepared(order)
        if order.key and due > clock():
            await asyncio.sleep(due - clock())
        if order.fault == "hung":
            await self._hang(receive)
        await _send(sending, receive, send)

    async def _hang(self, receive: Receive) -> None:
        gone = asyncio.ensure_future(receive())
        await asyncio.wait({gone}, timeout=self._server.manner.faults.hang_s)
        gone.cancel()

    async def _prepared(self, order: Order) -> Sending:
        if order.refusal is not None:
            return whole(json.dumps(order.refusal.content), status=order.refusal.status, headers=order.refusal.headers)
        if order.fault in ("hung", "dropped"):
            return Sending((), is_broken_off=True)
        if order.fault == "wrong_content_type":
            return whole(HTML, kind="text/html")
        envelope, reply = await self._server.answer(order)
        if order.body.get("stream"):
            options = order.body.get("stream_options")
            has_usage = isinstance(options, dict) and bool(options.get("include_usage"))
            return streamed(order.fault, list(chunks(envelope, reply, order.choice_count, has_usage)))
        content = json.dumps(completion(envelope, reply, order.choice_count), ensure_ascii=False)
        if order.fault == "broken_json":
            return whole(content[: len(content) // 2])
        if order.fault == "cut_body":
            encoded = content.encode()
            return Sending((encoded[: len(encoded) // 2],), len(encoded), is_broken_off=True)
        return whole(content)


def whole(text: str, status: int = 200, kind: str = "application/json", headers: Sequence[tuple[str, str]] = ()) -> Sending:
    """A response that is sent at once."""
    content = text.encode()
    return Sending((content,), len(content), status, kind, headers)


def streamed(fault: str | None, events: list[str]) -> Sending:
    """Server-sent events, one a piece, spoilt where the fault says so."""
    if fault == "broken_json":
        events = [*events[: len(events) // 2], BROKEN_EVENT]
    if fault == "cut_body":
        events = events[: max(2, len(events) // 2)]
    pieces = [event.encode() for event in events]
    return Sending(pieces, None, 200, "text/event-stream; charset=utf-8", is_broken_off=fault == "cut_body")


async def _send(sending: Sending, receive: Receive, send: Send) -> None:
    if sending.pieces:
        await send({"type": "http.response.start", "status": sending.status, "headers": _head(sending)})
    is_open = sending.is_broken_off or sending.length is None
    for piece in sending.pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": is_open})
    if sending.is_broken_off:
        await asyncio.sleep(FLUSH_S if sending.pieces else 0)
        await drop_connection(receive)
    elif is_open:
        await send({"type": "http.response.body", "body": b""})


def _head(sending: Sending) -> list[tuple[bytes, bytes]]:
    length = () if sending.length is None else (("content-length", str(sending.length)),)
    named = (("content-type", sending.kind), *length, *sending.headers)
    return [(name.lower().encode(), value.encode()) for name, value in named]


async def json_body(receive: Receive) -> Json:
    """The body as a JSON object; empty if it is none."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    try:
        content = json.loads(b"".join(parts))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
