"""What is asked and what came back: request keys, answers as the journal keeps them, and the rows of `raw_traces`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict

from schemas.errors import TeacherError
from schemas.refs import StageCost
from schemas.tables import RAW_TRACES
from tasks.traces.endpoints import Endpoint, canonical_hash
from tasks.traces.prompts import Prompt


@dataclass(frozen=True)
class TraceRequest:
    """One question about one document."""

    request_hash: str
    messages_hash: str
    document_id: str
    split: str
    prompt: Prompt
    sample_index: int = 0


class Answer(BaseModel):
    """How one request ended: an answer as received, or an error; one line of the journal."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request_hash: str
    messages_hash: str
    teacher: str
    endpoint: str
    prompt_kind: str
    variant: str = "both"
    asked_form: str = "json"
    sample_index: int
    asked_at: datetime
    attempt_count: int
    completion_text: str | None = None
    reasoning_text: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    answer_tokens: int | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    error_kind: str | None = None
    error_text: str | None = None


T = TypeVar("T", int, float)


def make_request(endpoint: Endpoint, document_id: str, split: str, prompt: Prompt, sample_index: int = 0) -> TraceRequest:
    """The request with its key: SHA-256 over endpoint, model, messages, sampling parameters and sample number."""
    messages = prompt.messages()
    key = canonical_hash(
        {
            "base_url": endpoint.name,
            "model": endpoint.model,
            "messages": messages,
            "temperature": endpoint.temperature,
            "max_completion_tokens": endpoint.max_completion_tokens,
            "sample_index": sample_index,
        }
    )
    return TraceRequest(key, canonical_hash(messages), document_id, split, prompt, sample_index)


def unanswered(requests: Sequence[TraceRequest], answers: Mapping[str, Answer]) -> list[TraceRequest]:
    """The requests without an answer, each key once: never asked, or ended with an error."""
    missing = {r.request_hash: r for r in requests if not is_answered(answers.get(r.request_hash))}
    return list(missing.values())


def is_answered(answer: Answer | None) -> bool:
    """Whether the teacher answered at all, if only with a refusal."""
    return answer is not None and answer.error_kind is None


def trace_rows(dataset: str, requests: Sequence[TraceRequest], answers: Mapping[str, Answer]) -> pl.DataFrame:
    """`raw_traces`: one row a document asked about; documents of the same text share a request."""
    ended = (answers[r.request_hash].model_dump() for r in requests)
    asked = ({"dataset": dataset, "document_id": r.document_id, "split": r.split} for r in requests)
    rows = [answer | document for answer, document in zip(ended, asked, strict=True)]
    return RAW_TRACES.conform(pl.DataFrame(rows, schema=RAW_TRACES.schema))


def refuse_failures(answers: Sequence[Answer], max_error_frac: float) -> None:
    """Refuse to go on with too few answers.

    Raises:
        TeacherError: more than this share of the requests ended with an error.
    """
    failed = [answer for answer in answers if not is_answered(answer)]
    if len(failed) > max_error_frac * len(answers):
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(a.error_kind for a in failed).most_common(5))
        raise TeacherError(
            f"raw_traces: {len(failed)} of {len(answers)} requests failed ({len(failed) / len(answers):.3f} > max_error_frac "
            f"{max_error_frac}): {kinds}; the last said: {failed[-1].error_text}. Answers are kept: run again to ask the rest"
        )


def asking_cost(sent: Sequence[Answer], document_count: int) -> StageCost:
    """What the answers of this run used; a sum with an unknown part is unknown."""
    ended = [answer for answer in sent if is_answered(answer)]
    return StageCost(
        request_count=len(sent),
        prompt_tokens=_sum([answer.prompt_tokens for answer in ended]) if ended else 0,
        completion_tokens=_sum([answer.completion_tokens for answer in ended]) if ended else 0,
        cost_usd=_sum([answer.cost_usd for answer in ended]),
        rows_in_count=document_count,
        rejected_count=len(sent) - len(ended),
    )


def _sum(values: Sequence[T | None]) -> T | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if len(known) == len(values) and known else None
