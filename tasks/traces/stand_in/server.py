"""What the stand-in answers to a request, which fault it meets, and counts of both."""

import email.utils
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time

from schemas.config import FaultRates
from tasks.traces.endpoints import canonical_hash
from tasks.traces.prompts import read_document
from tasks.traces.stand_in.asked import read_request, wants_schema
from tasks.traces.stand_in.faults import meet_fault
from tasks.traces.stand_in.replies import Envelope, Json, enlarged, limited
from tasks.traces.stand_in.thinking import Question, Thought, vary
from tasks.traces.stand_in.thoughts import Thoughts
from tasks.traces.stand_in.wording import Reply, Writer, cut_reply, refusal

RETRY_AFTER_MS = 50
SCHEMA_REFUSED = "'response_format' of type 'json_schema' is not supported with this model"


@dataclass(frozen=True)
class Manner:
    """How the stand-in answers: the name it goes by, the format, the seed of its wording and faults."""

    model: str
    answer_format: str
    seed: int
    faults: FaultRates
    structured_output: str = "taken"
    reasoning_field: str = "reasoning_content"
    flip_rate: float = 0.0


class StandInServer:
    """Answers chat completions with thoughts; counts what it served."""

    def __init__(
        self, think: Callable[[Sequence[Question]], list[Thought]], short_names: Mapping[str, str], manner: Manner
    ) -> None:
        """Serve what `think` gives; `short_names` are the label names that may be shortened."""
        self._thoughts = Thoughts(think)
        self._short_names = short_names
        self.manner = manner
        self._attempts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._request_count = 0
        self._systems: set[str] = set()

    def stats(self) -> Json:
        """How often it was asked, how it ended, and how often each question was asked."""
        counts = dict(sorted(self._outcomes.items()))
        stats = {"request_count": sum(counts.values()), "outcomes": counts, "distinct_messages_count": len(self._attempts)}
        return stats | {"by_messages": dict(self._attempts)}

    def meet(self, body: Json) -> "Order":
        """Take a request: refused at once, or with the fault it meets."""
        refused = self._refuse(body)
        if refused is not None:
            self._outcomes["bad_request"] += 1
            return Order(body, "", None, refused)
        seed = body.get("seed")
        key = canonical_hash(body["messages"]) + ("" if seed is None else f":{seed}")
        self._attempts[key] += 1
        fault = meet_fault(self.manner.faults, self.manner.seed, key, self._attempts[key], self._request_count)
        self._request_count += 1
        self._outcomes[fault or "answered"] += 1
        return Order(body, key, fault, error_of(fault), self._attempts[key])

    def _refuse(self, body: Json) -> "Refusal | None":
        if body.get("model") not in (self.manner.model, "stand-in"):
            return Refusal(404, f"model {body.get('model')!r} does not exist; here is {self.manner.model!r}", "model_not_found")
        if body.get("n") not in (None, 1):
            return Refusal(400, "the stand-in gives one answer at once: `n` must be 1", "unsupported_value")
        if wants_schema(body) and self.manner.structured_output == "refused":
            return Refusal(400, SCHEMA_REFUSED, "unsupported_parameter")
        messages = body.get("messages")
        texts = [text_of(message) for message in messages] if isinstance(messages, list) else []
        if not texts or read_document(texts[-1] or "") is None:
            return Refusal(400, "the last message must end with the document between <document> and </document>", "no_document")
        if None in texts:
            return Refusal(400, "every message must be an object with text of whole characters as `content`", "invalid_message")
        return None

    async def answer(self, order: "Order") -> tuple[Envelope, Reply]:
        """The reply to a request that was not refused, spoilt where its fault says so."""
        draw = random.Random(f"{self.manner.seed}:{order.key}{order.again}")
        reply = refusal(draw) if order.fault == "refusal" else await self._reply(order, draw)
        if order.fault == "cut_off":
            reply = cut_reply(reply, int((len(reply.reasoning or "") + len(reply.content)) * draw.uniform(0.3, 0.9)))
        if order.fault == "content_filter":
            reply = Reply("", None, "content_filter")
        reply = enlarged(reply) if order.fault == "huge" else limited(reply, token_limit(order.body))
        return self._envelope(order), reply

    def _envelope(self, order: "Order") -> Envelope:
        texts = [message["content"] for message in order.body["messages"]]
        system = texts[0] if len(texts) > 1 else ""
        cached_chars = len(system) if system in self._systems else 0
        self._systems.add(system)
        return Envelope(order.key, self.manner.model, sum(map(len, texts)), cached_chars, self.manner.reasoning_field)

    async def _reply(self, order: "Order", draw: random.Random) -> Reply:
        asked = read_request(order.body, self.manner.answer_format, self.manner.structured_output == "taken")
        thought = await self._thoughts.on(asked.question)
        if order.again or order.body.get("seed") is not None:
            thought = vary(thought, draw, self.manner.flip_rate)
        return Writer(draw, self._short_names, asked.style).write(thought, asked.title, asked.answer_format)


@dataclass(frozen=True)
class Refusal:
    """A status of 400 or more with its message."""

    status: int
    message: str
    code: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def content(self) -> Json:
        """The error object."""
        return {"error": {"message": self.message, "type": self.code, "param": None, "code": self.code}}


@dataclass(frozen=True)
class Order:
    """A request with what it meets: a fault, or a refusal."""

    body: Json
    key: str
    fault: str | None
    refusal: Refusal | None
    attempt: int = 1

    @property
    def choice_count(self) -> int:
        """Choices of the answer: one but for two faults."""
        return {"empty_choices": 0, "duplicate": 2}.get(self.fault or "", 1)

    @property
    def again(self) -> str:
        """What tells this answer from the one before: sampling without a seed draws anew every time."""
        is_drawn = self.body.get("seed") is None and bool(self.body.get("temperature"))
        return f":{self.attempt}" if is_drawn and self.attempt > 1 else ""


def text_of(message: object) -> str | None:
    """A message's text; null if it has none, or half characters, which no answer could quote."""
    text = message.get("content") if isinstance(message, dict) else None
    try:
        return text if isinstance(text, str) and text.encode() is not None else None
    except UnicodeEncodeError:
        return None


def token_limit(body: Json) -> int | None:
    """The most tokens of an answer that a request sets, under either name; null: none."""
    limits = (body.get("max_completion_tokens"), body.get("max_tokens"))
    return next((limit for limit in limits if isinstance(limit, int) and limit > 0), None)


def error_of(fault: str | None) -> Refusal | None:
    """The refusal of a fault that is one."""
    if fault == "rate_limited":
        wait = (("Retry-After", "1"), ("Retry-After-Ms", str(RETRY_AFTER_MS)))
        return Refusal(429, "the stand-in was told to limit its rate", "rate_limit_exceeded", wait)
    if fault == "rate_limited_bare":
        return Refusal(429, "the stand-in was told to limit its rate", "rate_limit_exceeded")
    if fault == "unavailable":
        date = email.utils.formatdate(time() + 1, usegmt=True)
        return Refusal(503, "the stand-in was told to be unavailable", "unavailable", (("Retry-After", date),))
    return Refusal(500, "the stand-in was told to fail", "server_error") if fault == "server_error" else None
