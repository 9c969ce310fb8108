"""What has been asked and how it ended: which requests are still to be sent, what was spent, what is kept."""

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from schemas.refs import RetryRules
from tasks.traces.answers import TRUNCATED, Answer, is_answered, may_pass
from tasks.traces.endpoints import Endpoint
from tasks.traces.plan import NEVER_ASKED
from tasks.traces.requests import TraceRequest
from tasks.traces.rows import Spending

logger = logging.getLogger(__name__)

NEEDED = ("endpoint", "teacher", "error_kind", "finish_reason", "cost_usd", "at_risk_usd")
"""What the ledger wants to know of a record, besides its key."""


class Store(Protocol):
    """Where answers are kept: safe from a kill once written, on disk once flushed."""

    def entries(self, columns: Collection[str] | None = None) -> Iterator[Mapping[str, Any]]:
        """Every record, oldest first, with these columns at least."""
        ...

    def read(self, wanted: Collection[str]) -> dict[str, str]:
        """The newest record of each wanted key, as JSON."""
        ...

    def write(self, lines: Sequence[str]) -> None:
        """Add records; a kill does not lose them."""
        ...

    def flush(self) -> None:
        """Return once they are on disk."""
        ...


def is_sent(rules: RetryRules, ending: str | None, is_known: bool) -> bool:
    """Whether a request is to be sent that is known or not, and ended so (null: answered whole)."""
    if not is_known:
        return not rules.is_only_failed
    if ending is None:
        return False
    if rules.reasons:
        return ending in rules.reasons
    return ending not in TRUNCATED and may_pass(ending)


class Ledger:
    """The journal as the asking sees it."""

    def __init__(self, store: Store, endpoint: Endpoint, rules: RetryRules) -> None:
        """Read how everything ended that was ever asked of this endpoint and model."""
        self._store = store
        self._rules = rules
        self._turn = threading.Lock()
        self._endings: dict[bytes, str | None] = {}
        self._queued: set[bytes] = set()
        self._error_texts: dict[str, str] = {}
        self._unflushed: list[Answer] = []
        self.spent_usd = 0.0
        self.sent = Spending()
        for record in store.entries(NEEDED):
            self._endings[_key(record["request_hash"])] = _ending(record.get("error_kind"), record.get("finish_reason"))
            if record.get("endpoint") == endpoint.name and record.get("teacher") == endpoint.model:
                self.spent_usd += sum(map(_usd, (record.get("cost_usd"), record.get("at_risk_usd"))))

    def missing(self, chunks: Iterable[Sequence[TraceRequest]]) -> Iterator[tuple[list[TraceRequest], int]]:
        """Of each chunk the requests that are to be sent, each key once, and how many are not."""
        for chunk in chunks:
            wanted = self.wanted(chunk)
            yield wanted, len(chunk) - len(wanted)

    def wanted(self, chunk: Sequence[TraceRequest]) -> list[TraceRequest]:
        """The requests of a chunk that are to be sent, each key once: what was given out here is not wanted again."""
        return [request for request in chunk if self._is_wanted(request)]

    def _is_wanted(self, request: TraceRequest) -> bool:
        key = _key(request.request_hash)
        if key in self._queued or not is_sent(self._rules, self._endings.get(key), key in self._endings):
            return False
        self._queued.add(key)
        return True

    def keep(self, answers: Sequence[Answer]) -> None:
        """Store answers; they count once `flush` has returned. A failure does not take the place of an answer.

        Raises:
            StorageError: they could not be stored.
        """
        kept = [answer for answer in answers if is_answered(answer) or not self.is_answered(answer.request_hash)]
        with self._turn:
            self._store.write([answer.model_dump_json() for answer in kept])
            self._unflushed += answers
        for answer in kept:
            key, ending = _key(answer.request_hash), _ending(answer.error_kind, answer.finish_reason)
            self._endings[key] = ending
            if answer.error_kind is None:
                self._queued.discard(key)  # its ending says enough, and memory is kept for what is under way
            else:
                self._error_texts[answer.error_kind] = answer.error_text or ""

    def flush(self) -> Sequence[Answer]:
        """Return once everything kept is on disk, and count it: the answers that count from now on.

        Raises:
            StorageError: the disk does not take them.
        """
        with self._turn:
            flushed, self._unflushed = self._unflushed, []
        self._store.flush()
        for answer in flushed:
            self.sent.add(answer)
            self.spent_usd += (answer.cost_usd or 0.0) + (answer.at_risk_usd or 0.0)
        return flushed

    def read(self, keys: Collection[str]) -> dict[str, Answer]:
        """The newest answers to these requests."""
        with self._turn:
            lines = self._store.read(keys)
        answers = {}
        for key, line in lines.items():
            try:
                answers[key] = Answer.model_validate_json(line)
            except ValidationError as exc:  # a foreign hand was at the journal
                logger.warning("the journal's record of %s is no answer and is left out: %s", key, exc)
        return answers

    def is_answered(self, request_hash: str) -> bool:
        """Whether there is an answer, whole or cut."""
        key = _key(request_hash)
        return key in self._endings and self._endings[key] in (None, *TRUNCATED)

    def failure(self, key: bytes) -> str | None:
        """The error kind a request ended with, `never_asked`, or null for an answer."""
        ending = self._endings.get(key, NEVER_ASKED)
        return None if ending in TRUNCATED else ending

    def last_error(self, kinds: Iterable[str]) -> str | None:
        """What a request of the first of these kinds said, of those that failed in this run."""
        return next((self._error_texts[kind] for kind in kinds if kind in self._error_texts), None)


def _usd(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _ending(error_kind: str | None, finish_reason: str | None) -> str | None:
    return error_kind or (finish_reason if finish_reason in TRUNCATED else None)


def _key(request_hash: str) -> bytes:
    """The key as 32 bytes: half of what its text takes."""
    try:
        return bytes.fromhex(request_hash)
    except ValueError:
        return request_hash.encode()
