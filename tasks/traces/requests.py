"""What is asked and what came back: request keys, answers as the journal keeps them, and the rows of `raw_traces`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit, urlunsplit

import polars as pl
from pydantic import BaseModel, ConfigDict

from schemas.tables import RAW_TRACES
from tasks.traces.prompts import Prompt


@dataclass(frozen=True)
class Endpoint:
    """Who is asked and how: the same endpoint, model and sampling give the same request keys.

    `name` is the base URL without credentials, or the word `stand-in`, whatever port it serves on.
    """

    name: str
    model: str
    prompt_kind: str
    temperature: float
    max_completion_tokens: int


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
    sample_index: int
    asked_at: datetime
    attempt_count: int
    completion_text: str | None = None
    reasoning_text: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    error_kind: str | None = None
    error_text: str | None = None


def canonical_hash(value: object) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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


def public_url(base_url: str) -> str:
    """The base URL as records may show it: no user, password, query or closing slash."""
    parts = urlsplit(base_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


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
