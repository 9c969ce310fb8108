"""Who is asked: the endpoint as request keys and records name it, and the checks of its settings before any work."""

import hashlib
import json
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from schemas.config import FAULTS, StandInConfig, TeacherConfig
from schemas.errors import ConfigError
from tasks.traces.money import prices_of

STAND_IN = "stand-in"

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


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
    top_p: float | None = None
    seed: int | None = None


def canonical_hash(value: object) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def public_url(base_url: str) -> str:
    """The base URL as records may show it: no user, password, query or closing slash."""
    parts = urlsplit(base_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def check_settings(teacher: TeacherConfig, has_key: bool) -> None:
    """Refuse settings that cannot work, before any work is done.

    Raises:
        ConfigError: names the setting and what it may be.
    """
    if teacher.prompt_kind is None:
        raise ConfigError(
            "teacher.prompt_kind is not set: choose `open` (labels named freely) or `candidates` (picked from a list)"
        )
    if teacher.max_usd is not None and not prices_of(teacher).is_known:
        raise ConfigError(
            f"teacher.max_usd = {teacher.max_usd:g} cannot be kept without prices: set teacher.prompt_usd_per_million and "
            "teacher.completion_usd_per_million, or leave the cap out"
        )
    if teacher.base_url == STAND_IN:
        return check_faults(teacher.stand_in)
    url = urlsplit(teacher.base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(f"teacher.base_url = {public_url(teacher.base_url)!r}: expected `stand-in` or http(s)://host/v1")
    if not teacher.model:
        raise ConfigError(f"teacher.model is not set: name the model to ask at {public_url(teacher.base_url)}")
    if not has_key and url.hostname not in LOCAL_HOSTS:
        raise ConfigError(
            f"environment variable {teacher.api_key_env} is not set: it holds the key for {public_url(teacher.base_url)}; "
            "export it, or name another variable in teacher.api_key_env"
        )
    return None


def check_faults(stand_in: StandInConfig) -> None:
    """Refuse fault rates that exceed certainty together.

    Raises:
        ConfigError: the rates of faults that exclude each other add up to more than 1.
    """
    faults = stand_in.faults
    total = sum(getattr(faults, name) for name in FAULTS)
    if total > 1 + 1e-9:
        raise ConfigError(f"teacher.stand_in.faults: rates of one request add up to {total:g}; at most 1 is possible")


def asked_endpoint(teacher: TeacherConfig, stand_in_model: str | None) -> Endpoint:
    """The endpoint of these settings, as keys and records name it; `stand_in_model` if it is the stand-in."""
    return Endpoint(
        name=STAND_IN if stand_in_model else public_url(teacher.base_url),
        model=stand_in_model or str(teacher.model),
        prompt_kind=str(teacher.prompt_kind),
        temperature=teacher.temperature,
        max_completion_tokens=teacher.max_completion_tokens,
        top_p=teacher.top_p,
        seed=teacher.seed,
    )
