"""What the stand-in answers to a request, which fault it meets, and counts of both."""

import asyncio
import email.utils
import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time

from schemas.config import FaultRates
from tasks.traces.endpoints import canonical_hash
from tasks.traces.prompts import read_document, read_given, read_offered, read_wish
from tasks.traces.stand_in.faults import meet_fault
from tasks.traces.stand_in.replies import Envelope, Json, enlarged, limited
from tasks.traces.stand_in.thinking import Question, Thought, vary
from tasks.traces.stand_in.wording import Reply, Style, Writer, cut_reply, refusal

RETRY_AFTER_MS = 50
THINK_TOGETHER = 32
"""Questions that wait are thought about together: one matrix product for all."""

KEPT_THOUGHTS = 8192
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
        self._think = think
        self._short_names = short_names
        self.manner = manner
        self._attempts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._request_count = 0
        self._systems: set[int] = set()
        self._thoughts: OrderedDict[Question, Thought] = OrderedDict()
        self._waiting: list[tuple[Question, asyncio.Future[Thought]]] = []
        self._thinking: asyncio.Task[None] | None = None

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
        if body.get("n", 1) != 1:
            return Refusal(400, "the stand-in gives one answer at once: `n` must be 1", "unsupported_value")
        if body.get("response_format") and self.manner.structured_output == "refused":
            return Refusal(400, SCHEMA_REFUSED, "unsupported_parameter")
        messages = body.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        content = last.get("content") if isinstance(last, dict) else None
        if not isinstance(content, str) or read_document(content) is None:
            return Refusal(400, "the last message must end with the document between <document> and </document>", "no_document")
        return None

    async def answer(self, order: "Order") -> tuple[Envelope, Reply]:
        """The reply to a request that was not refused, spoilt where its fault says so."""
        messages = order.body["messages"]
        draw = random.Random(f"{self.manner.seed}:{order.key}{order.again}")
        reply = refusal(draw) if order.fault == "refusal" else await self._reply(order, draw)
        if order.fault == "cut_off":
            reply = cut_reply(reply, int((len(reply.reasoning or "") + len(reply.content)) * draw.uniform(0.3, 0.9)))
        if order.fault == "content_filter":
            reply = Reply("", None, "content_filter")
        if order.fault == "huge":
            reply = enlarged(reply)
        else:
            reply = limited(reply, order.body.get("max_completion_tokens") or order.body.get("max_tokens"))
        system = str(messages[0]["content"]) if len(messages) > 1 else ""
        is_cached, prompt_chars = hash(system) in self._systems, sum(len(str(message.get("content"))) for message in messages)
        self._systems.add(hash(system))
        field = self.manner.reasoning_field
        return Envelope(order.key, self.manner.model, prompt_chars, len(system) if is_cached else 0, field), reply

    async def _reply(self, order: "Order", draw: random.Random) -> Reply:
        system, user = str(order.body["messages"][0]["content"]), str(order.body["messages"][-1]["content"])
        question = Question(read_document(user) or "", read_offered(user), read_given(user))
        thought = await self._thought(question)
        if order.again or order.body.get("seed") is not None:
            thought = vary(thought, draw, self.manner.flip_rate)
        wish, is_structured = read_wish(system), bool(order.body.get("response_format"))
        is_structured = is_structured and self.manner.structured_output == "taken"
        asked = {"json": "json", "tagged": "tagged", "free": "prose"}[wish.form]
        answer_format = asked if self.manner.answer_format == "asked" else self.manner.answer_format
        listing = question.offered is not None
        style = Style(wish.phases, listing, question.given is not None, is_structured and listing)
        title = question.text.strip().partition("\n")[0]
        return Writer(draw, self._short_names, style).write(thought, title, "json" if is_structured else answer_format)

    async def _thought(self, question: Question) -> Thought:
        known = self._thoughts.get(question)
        if known is not None:
            self._thoughts.move_to_end(question)
            return known
        answered: asyncio.Future[Thought] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answered))
        if self._thinking is None or self._thinking.done():
            self._thinking = asyncio.create_task(self._think_on())
        thought = self._thoughts[question] = await answered
        while len(self._thoughts) > KEPT_THOUGHTS:
            self._thoughts.popitem(last=False)
        return thought

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
    def again(self) -> str:
        """What tells this answer from the one before: sampling without a seed draws anew every time."""
        is_drawn = self.body.get("seed") is None and bool(self.body.get("temperature"))
        return f":{self.attempt}" if is_drawn and self.attempt > 1 else ""


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
