"""The stand-in's own batch reader: a batch file in, an output and an error file out, as the Batch API writes them."""

import asyncio
import json
import random
from collections.abc import Iterable

from schemas.errors import ConfigError
from tasks.traces.stand_in.replies import Json, completion
from tasks.traces.stand_in.server import Order, StandInServer
from tasks.traces.stand_in.serving import COMPLETIONS

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
AT_ONCE = 256
NOT_RUN = {"hung", "dropped", "cut_body"}
"""Faults of a connection: in a batch the request is not run before the batch expires."""


async def answer_batch(
    server: StandInServer, lines: Iterable[str], seed: int = 0, expired_frac: float = 0.0
) -> tuple[list[str], list[str]]:
    """The lines of the output file and of the error file, each in an order of its own.

    Args:
        server: answers; its faults become statuses and errors.
        lines: of the batch file.
        seed: draws the order, and what expires.
        expired_frac: share of requests that are not run before the batch expires.

    Raises:
        ConfigError: the file is no batch file; names the line.
    """
    draw = random.Random(f"batch:{seed}")
    requests = read_batch(lines)
    expired = {custom_id for custom_id, _ in requests if draw.random() < expired_frac}
    output: list[str] = []
    errors: list[str] = []
    for first in range(0, len(requests), AT_ONCE):
        part = requests[first : first + AT_ONCE]
        results = await asyncio.gather(*(_result(server, custom_id, body, custom_id in expired) for custom_id, body in part))
        for result in results:
            is_fine = result["error"] is None and result["response"]["status_code"] == 200
            (output if is_fine else errors).append(json.dumps(result, ensure_ascii=False))
    draw.shuffle(output)
    draw.shuffle(errors)
    return output, errors


def read_batch(lines: Iterable[str]) -> list[tuple[str, Json]]:
    """Custom id and body of each request.

    Raises:
        ConfigError: a line is no request of a batch, a custom id is not unique, models differ, there is no request, or a limit
            is passed.
    """
    requests: dict[str, Json] = {}
    byte_count, model = 0, None
    for number, line in enumerate(lines, start=1):
        byte_count += len(line.encode("utf-8", "surrogatepass")) + 1
        if number > MAX_REQUESTS or byte_count > MAX_BYTES:
            raise ConfigError(
                f"batch line {number}: a file holds at most {MAX_REQUESTS:,} requests and {MAX_BYTES:,} bytes; split it"
            )
        custom_id, body = _read_line(number, line)
        if custom_id in requests:
            raise ConfigError(f"batch line {number}: custom_id {custom_id!r} is not unique")
        model = body.get("model") if number == 1 else model
        if body.get("model") != model:
            raise ConfigError(f"batch line {number}: model {body.get('model')!r}, line 1 has {model!r}; one model a file")
        requests[custom_id] = body
    if not requests:
        raise ConfigError("batch: the file holds no request")
    return list(requests.items())


def _read_line(number: int, line: str) -> tuple[str, Json]:
    try:
        content = json.loads(line)
        custom_id, body = content["custom_id"], content["body"]
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"batch line {number}: is no request with custom_id and body: {exc!r}") from exc
    if not isinstance(custom_id, str) or not isinstance(body, dict):
        raise ConfigError(f"batch line {number}: custom_id must be text and body an object")
    if content.get("method") != "POST" or content.get("url") != COMPLETIONS:
        raise ConfigError(f"batch line {number}: method must be POST and url {COMPLETIONS}")
    return custom_id, body


async def _result(server: StandInServer, custom_id: str, body: Json, is_expired: bool) -> Json:
    order = None if is_expired else server.meet(body)
    if order is None or order.fault in NOT_RUN:
        error = {"code": "batch_expired", "message": "This request could not be executed before the completion window expired."}
        return _line(custom_id, None, error)
    status, content = await _run(server, order)
    return _line(custom_id, {"status_code": status, "request_id": f"req-{custom_id[:12]}", "body": content}, None)


async def _run(server: StandInServer, order: Order) -> tuple[int, Json | str]:
    if order.refusal is not None:
        return order.refusal.status, order.refusal.content
    envelope, reply = await server.answer(order)
    body = completion(envelope, reply, order.choice_count)
    return 200, "<html></html>" if order.fault in ("wrong_content_type", "broken_json") else body


def _line(custom_id: str, response: Json | None, error: Json | None) -> Json:
    return {"id": f"batch_req_{custom_id[:16]}", "custom_id": custom_id, "response": response, "error": error}
