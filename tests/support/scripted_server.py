"""A real HTTP server that answers by a script, in the test's own event loop: every way a teacher can fail, on demand."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
FOREVER_S = 3600.0
Json = dict[str, Any]  # a JSON object: each key has its own type


@dataclass(frozen=True)
class Reply:
    """What one request gets, and how it ends.

    `parts` are sent one by one with their length before each; a number is a pause in seconds. `missing_bytes` are promised by
    Content-Length and never sent. A cut reply is closed before its end, a dropped one before its beginning.
    """

    status: int = 200
    body: bytes = b""
    content_type: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[bytes | float, ...] | None = None
    delay_s: float = 0.0
    missing_bytes: int = 0
    is_cut: bool = False
    is_dropped: bool = False


DROPPED = Reply(is_dropped=True)
HUNG = Reply(delay_s=FOREVER_S)


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    headers: Mapping[str, str]
    body: Json


Script = Reply | Callable[[Json], Reply]
"""A reply, or what makes it of the request's body."""


@dataclass
class ScriptedServer:
    """A server at `base_url` that gives its replies in turn, the last one for ever, and records what it was sent."""

    replies: Sequence[Script]
    base_url: str = ""
    received: list[Received] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def bodies(self) -> list[Json]:
        """The bodies of all requests, oldest first."""
        return [request.body for request in self.received]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it is closed."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer_next(reader, writer):
                pass
        writer.close()

    async def _answer_next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        path, request = await _read_request(reader)
        self.received.append(request)
        script = self.replies[min(len(self.received), len(self.replies)) - 1]
        reply = script if isinstance(script, Reply) else script(request.body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await _send(writer, reply if path == PATH else error_reply(404, f"no {path} here"))
        finally:
            self.in_flight -= 1


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, Received]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return head[0].split(" ")[1], Received(headers, json.loads(body or b"{}"))


async def _send(writer: asyncio.StreamWriter, reply: Reply) -> bool:
    """Send the reply; whether the connection stays open."""
    await asyncio.sleep(reply.delay_s)
    if reply.is_dropped:
        return False
    length = len(reply.body) + reply.missing_bytes
    framing = {"Content-Length": str(length)} if reply.parts is None else {"Transfer-Encoding": "chunked"}
    kind = {} if reply.content_type is None else {"Content-Type": reply.content_type}
    lines = "".join(f"{name}: {value}\r\n" for name, value in (framing | kind | dict(reply.headers)).items())
    writer.write(f"HTTP/1.1 {reply.status} Scripted\r\n{lines}\r\n".encode() + reply.body)
    for part in reply.parts or ():
        await writer.drain()
        if isinstance(part, bytes):
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        else:
            await asyncio.sleep(part)
    if reply.parts is not None and not reply.is_cut:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return not reply.is_cut and not reply.missing_bytes


@asynccontextmanager
async def serving(*replies: Script) -> AsyncIterator[ScriptedServer]:
    """A server for the block; connections still open at its end are closed."""
    scripted = ScriptedServer(replies)
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(scripted.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    scripted.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield scripted
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Any JSON value as a body."""
    return Reply(status, json.dumps(value).encode(), headers=headers or {})


def error_reply(status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None) -> Reply:
    """An error as OpenAI words it."""
    return json_reply({"error": {"message": message, "code": code}}, status, headers)


def completion(content: object = "vim", usage: object = USAGE, finish_reason: object = "stop", **message: object) -> Reply:
    """A whole `chat.completion`."""
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": content} | message}
    return json_reply({"id": "x", "object": "chat.completion", "model": "model", "choices": [choice], "usage": usage})


def delta(content: object = None, finish_reason: str | None = None, index: int = 0, **fields: object) -> Json:
    """One piece of a streamed answer."""
    choice = {"index": index, "delta": {"content": content} | fields, "finish_reason": finish_reason}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def usage_chunk(usage: object = USAGE) -> Json:
    """The last piece, which has no choice."""
    return {"object": "chat.completion.chunk", "choices": [], "usage": usage}


def stream(*chunks: object, is_done: bool = True, is_cut: bool = False) -> Reply:
    """A stream of events: objects as JSON, bytes as they are, numbers as pauses in seconds."""
    parts = [part if isinstance(part, bytes | float) else f"data: {json.dumps(part)}\n\n".encode() for part in chunks]
    ends = [b"data: [DONE]\n\n"] if is_done and not is_cut else []
    return Reply(content_type="text/event-stream; charset=utf-8", parts=(*parts, *ends), is_cut=is_cut)


def dripping(reply: Reply, size: int, pause_s: float) -> Reply:
    """The same body, so many bytes at a time with a pause after each."""
    pieces = [reply.body[start : start + size] for start in range(0, len(reply.body), size)]
    return replace(reply, body=b"", parts=tuple(part for piece in pieces for part in (piece, pause_s)))
