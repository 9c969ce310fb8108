"""What is asked: one question about one document, its key, and the body that is sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.traces.endpoints import Endpoint, canonical_hash
from tasks.traces.prompts import Prompt


@dataclass(frozen=True)
class TraceRequest:
    """One question about one document; `seed` is what is sent, null: none."""

    request_hash: str
    messages_hash: str
    document_id: str
    split: str
    prompt: Prompt
    variant: str = "both"
    asked_form: str = "json"
    sample_index: int = 0
    seed: int | None = None

    @property
    def prompt_bytes(self) -> int:
        """Bytes of the messages' text and of the schema, which some servers count in: at least as many as their tokens."""
        schema = "" if self.prompt.response_schema is None else json.dumps(self.prompt.response_schema)
        return sum(len(text.encode("utf-8", "replace")) for text in (self.prompt.system, self.prompt.user, schema))


def make_request(
    endpoint: Endpoint,
    document_id: str,
    split: str,
    prompt: Prompt,
    variant: str = "both",
    asked_form: str = "json",
    sample_index: int = 0,
) -> TraceRequest:
    """The request with its key: SHA-256 over endpoint, model, messages, sampling parameters and sample number.

    A parameter that is not sent is not part of the key, so that answers stay found when a new parameter comes to be known. Of
    the variants only those other than `both` are part of it.
    """
    messages = prompt.messages()
    seed = None if endpoint.seed is None else endpoint.seed + sample_index
    asked = {
        "base_url": endpoint.name,
        "model": endpoint.model,
        "messages": messages,
        "temperature": endpoint.temperature,
        "max_completion_tokens": endpoint.max_completion_tokens,
        "sample_index": sample_index,
    }
    own_key = None if variant == "both" else variant  # two variants may give a document the same shortlist
    optional = {"top_p": endpoint.top_p, "seed": seed, "response_schema": prompt.response_schema, "variant": own_key}
    key = canonical_hash(asked | {name: value for name, value in optional.items() if value is not None})
    return TraceRequest(key, canonical_hash(messages), document_id, split, prompt, variant, asked_form, sample_index, seed)


def request_body(endpoint: Endpoint, request: TraceRequest) -> dict[str, Any]:  # a JSON object: each key has its own type
    """The body of `POST /chat/completions` for one answer at once."""
    body = {
        "model": endpoint.model,
        "messages": request.prompt.messages(),
        "temperature": endpoint.temperature,
        "max_completion_tokens": endpoint.max_completion_tokens,
    }
    optional = {"top_p": endpoint.top_p, "seed": request.seed, "response_format": response_format(request.prompt.response_schema)}
    return body | {name: value for name, value in optional.items() if value is not None}


def response_format(schema: Mapping[str, Any] | None) -> dict[str, Any] | None:  # as above
    """The `response_format` parameter of a schema."""
    if schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "labels", "strict": True, "schema": schema}}
