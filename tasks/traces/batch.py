"""Batches: a request as a line of an OpenAI batch file, a line of its results as an answer, and what was read in all."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from schemas.config import TeacherConfig
from tasks.traces.answers import Answer, BrokenAnswerError, Json, answered, failed, is_answered, read_completion, seen
from tasks.traces.endpoints import Endpoint
from tasks.traces.money import Prices, most_usd
from tasks.traces.prompts import Prompt
from tasks.traces.requests import TraceRequest, request_body

URL = "/v1/chat/completions"
KIND_CHARS = 40
KEPT_PROBLEMS = 3
STATUS = re.compile(r"[1-5]\d\d", re.ASCII)


class ResultLine(Protocol):
    """One line of a result file: its JSON object, or the problem with it."""

    @property
    def content(self) -> Mapping[str, Any] | None:
        """The object; null if the line cannot be read."""
        ...

    @property
    def problem(self) -> str | None:
        """Where and why it cannot be read."""
        ...


def batch_line(endpoint: Endpoint, request: TraceRequest) -> str:
    """One request of a batch file; its `custom_id` is the request's key."""
    line = {"custom_id": request.request_hash, "method": "POST", "url": URL, "body": request_body(endpoint, request)}
    return json.dumps(line, ensure_ascii=False)


def batch_lines(endpoint: Endpoint, requests: Iterable[TraceRequest]) -> Iterator[str]:
    """The requests of a batch, each key once: documents of the same text share a request."""
    written: set[str] = set()
    for request in requests:
        if request.request_hash not in written:
            written.add(request.request_hash)
            yield batch_line(endpoint, request)


def by_custom_id(requests: Iterable[TraceRequest]) -> dict[str, TraceRequest]:
    """The requests that results may answer, found by `custom_id`, without their texts."""
    return {request.request_hash: replace(request, prompt=Prompt("", "")) for request in requests}


def answer_of(result: Json, request: TraceRequest, endpoint: Endpoint, prices: Prices) -> Answer:
    """What a line of an output or error file says, as the journal keeps it.

    Error kinds: `http_<status>`; `batch_<code>` for what never was an HTTP request, such as `batch_expired`; else what is wrong
    with the body.

    Source:
        OpenAI, Batch API, "The request output object"; vLLM, `run_batch`, which writes its errors beside the response.
    """
    response, error = _object(result.get("response")), result.get("error")
    body = response.get("body", response if "choices" in response else None)
    status = _status(response.get("status_code"))
    if status not in (None, 200):
        message = _said(error) or _said(body) or f"status {status}, without a message"
        return failed(request, endpoint, 1, f"http_{status}", message)
    if body is None:
        return failed(request, endpoint, 1, _error_kind(error), _said(error) or "the line has neither answer nor error")
    try:
        return answered(request, endpoint, prices, read_completion(body), 1, None)
    except BrokenAnswerError as exc:
        return failed(request, endpoint, 1, exc.kind, str(exc))


def _object(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _status(value: object) -> int | None:
    return int(str(value)) if isinstance(value, str | int) and STATUS.fullmatch(str(value)) else None


def _error_kind(error: object) -> str:
    details = _error_details(error)
    code = details.get("code") or details.get("type")
    if (status := _status(code)) is not None:
        return f"http_{status}"
    plain = re.sub(r"[^a-z0-9]+", "_", code.lower()).strip("_") if isinstance(code, str) else ""
    return f"batch_{plain.removeprefix('batch_') or 'error'}"[:KIND_CHARS]


def _error_details(error: object) -> Json:
    """The error object itself, which servers wrap once or not at all."""
    outer = _object(error)
    return _object(outer.get("error")) or outer


def _said(error: object) -> str | None:
    """The message of an error or of a body that holds one; null if there is none."""
    message = _error_details(error).get("message") or error
    return seen(message) if message else None


@dataclass
class Tally:
    """What was read: of results with one `custom_id` the first answer counts, and an answer rather than an error."""

    answered_count: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Requests that ended with an error, by its kind."""
    known_count: int = 0
    """Results of requests the journal already had an answer to."""
    duplicate_count: int = 0
    unknown_count: int = 0
    """Results with a `custom_id` that is none of ours: of other settings, another model, or another project."""
    unreadable_count: int = 0
    problems: list[str] = field(default_factory=list)
    """What was wrong with the first unreadable lines."""
    _endings: dict[str, str | None] = field(default_factory=dict)

    def has(self, custom_id: str) -> bool:
        """Whether a result of this request was read."""
        return custom_id in self._endings

    def takes(self, answer: Answer) -> bool:
        """Count a result; whether it is to be kept."""
        key, is_first = answer.request_hash, answer.request_hash not in self._endings
        self.duplicate_count += not is_first
        if not is_first and (not is_answered(answer) or self._endings[key] is None):
            return False
        if not is_first:
            self.failed[str(self._endings[key])] -= 1
        self._endings[key] = answer.error_kind
        if answer.error_kind is None:
            self.answered_count += 1
        else:
            self.failed[answer.error_kind] += 1
        return True

    def note_problem(self, problem: str) -> None:
        """Count a line that cannot be read."""
        self.unreadable_count += 1
        if len(self.problems) < KEPT_PROBLEMS:
            self.problems.append(problem)

    def describe(self, open_count: int) -> list[tuple[str, str]]:
        """Lines of a name of at most 13 letters and what is known, but not what did not happen.

        Args:
            open_count: requests that had no answer before.
        """
        failures = +self.failed
        kinds = ", ".join(f"{count} {kind}" for kind, count in failures.most_common())
        other = ", of other settings, models or projects; were the settings changed since the files were written?"
        lines = (
            ("answered", self.answered_count, ""),
            ("failed", failures.total(), f": {kinds}"),
            ("known before", self.known_count, ""),
            ("duplicates", self.duplicate_count, ""),
            ("not ours", self.unknown_count, other),
            ("unreadable", self.unreadable_count, f": {'; '.join(self.problems)}"),
            ("no result", open_count - self.answered_count - failures.total(), ""),
        )
        return [(name, f"{count:,}{more if count else ''}") for name, count, more in lines if count or name == "answered"]


def read_results(
    lines: Iterable[ResultLine],
    requests: Mapping[str, TraceRequest],
    endpoint: Endpoint,
    prices: Prices,
    tally: Tally,
    is_known: Callable[[str], bool] = lambda request_hash: False,
) -> Iterator[Answer]:
    """The answers to be kept, in the order of the lines; everything is counted in `tally`.

    Args:
        lines: of output and error files, in any order.
        requests: those that may have been sent (`by_custom_id`).
        endpoint: who was asked.
        prices: of batch answers.
        tally: counts what is read.
        is_known: whether the journal has an answer to this request.
    """
    for line in lines:
        if line.content is None:
            tally.note_problem(str(line.problem))
            continue
        custom_id = line.content.get("custom_id")
        request = requests.get(custom_id) if isinstance(custom_id, str) else None
        if request is None:
            tally.unknown_count += 1
        elif is_known(request.request_hash) and not tally.has(request.request_hash):
            tally.known_count += 1
        else:
            answer = answer_of(line.content, request, endpoint, prices)
            if tally.takes(answer):
                yield answer


def batched(answers: Iterator[Answer], size: int) -> Iterator[list[Answer]]:
    """The answers, so many at a time."""
    while part := list(islice(answers, size)):
        yield part


class Quota:
    """Requests that are written while the most they may cost fits `max_usd`, and what they are together."""

    def __init__(self, teacher: TeacherConfig, prices: Prices, spent_usd: float) -> None:
        """Begin with what was spent before."""
        self._teacher = teacher
        self._prices = prices
        self._spent_usd = spent_usd
        self._most_usd: float | None = 0.0
        self._count = 0
        self._left_out_count = 0

    def within(self, requests: Iterable[TraceRequest]) -> Iterator[TraceRequest]:
        """The requests that fit; the others are counted."""
        for request in requests:
            most = most_usd(
                self._prices, request.prompt_bytes, len(request.prompt.messages()), self._teacher.max_completion_tokens
            )
            if not self._fits(most):
                self._left_out_count += 1
                continue
            self._most_usd = None if most is None or self._most_usd is None else self._most_usd + most
            self._count += 1
            yield request

    def _fits(self, most: float | None) -> bool:
        cap = self._teacher.max_usd
        return cap is None or self._spent_usd + (self._most_usd or 0.0) + (most or 0.0) <= cap

    def describe(self, paths: Sequence[str], unaskable_count: int) -> list[tuple[str, str]]:
        """Lines of a name and what was written."""
        most = "unknown: no prices are set" if self._most_usd is None else f"at most {self._most_usd:,.2f} USD"
        lines = [("requests", f"{self._count:,}"), ("money", most), *(("file", path) for path in paths)]
        if self._left_out_count:
            lines.append(("left out", f"{self._left_out_count:,} requests: they might pass teacher.max_usd"))
        if unaskable_count:
            lines.append(("not yet", f"{unaskable_count:,} requests need phase-1 answers first: read those, then write again"))
        return lines
