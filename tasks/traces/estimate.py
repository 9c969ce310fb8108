"""What asking will take: requests, tokens, money and time, from answers that are already there; nothing is asked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas.config import TeacherConfig
from tasks.traces.answers import Answer, is_answered
from tasks.traces.money import Prices, Usage, price
from tasks.traces.requests import TraceRequest

BYTES_PER_TOKEN = 4.0
"""English text, common tokenizers; only where nothing was measured."""

SAMPLE_SIZE = 1000
Z_95 = 1.96


@dataclass
class Workload:
    """What is still to be sent, and a sample of what was answered; filled while the plan is walked through."""

    total: int = 0
    to_send: int = 0
    bytes_to_send: int = 0
    answered: list[TraceRequest] = field(default_factory=list)

    def add(self, chunk: Sequence[TraceRequest], wanted: Sequence[TraceRequest]) -> None:
        """Count a chunk and the part of it that is to be sent."""
        self.total += len(chunk)
        self.to_send += len(wanted)
        self.bytes_to_send += sum(request.prompt_bytes for request in wanted)
        keys = {request.request_hash for request in wanted}
        self.answered += [r for r in chunk if r.request_hash not in keys][: SAMPLE_SIZE - len(self.answered)]

    def add_unmade(self, count: int) -> None:
        """Count requests that cannot be made yet, as long as the others are on average."""
        mean = self.bytes_to_send / self.to_send if self.to_send else 0.0
        self.total += count
        self.to_send += count
        self.bytes_to_send += round(mean * count)


@dataclass(frozen=True)
class Estimate:
    """What is left to do; intervals are 95%, of the mean over the measured answers; null: unknown.

    `most_usd` is a bound: every answer as long as it may be.
    """

    total_count: int
    to_send_count: int
    measured_count: int
    prompt_tokens: float
    completion_tokens: float
    completion_tokens_low: float
    completion_tokens_high: float
    usd: float | None
    usd_low: float | None
    usd_high: float | None
    most_usd: float | None
    seconds: float | None
    bottleneck: str

    @property
    def is_measured(self) -> bool:
        """Whether tokens come from answers, not from a rule of thumb."""
        return self.measured_count > 0


def estimate(work: Workload, answers: Mapping[str, Answer], teacher: TeacherConfig, prices: Prices) -> Estimate:
    """Requests, tokens, money and time of what is left.

    Args:
        work: what is to be sent.
        answers: answers to the sample, by request key.
        teacher: its limits.
        prices: null where unknown.
    """
    pairs = [(r, a) for r in work.answered if (a := answers.get(r.request_hash)) is not None and is_answered(a)]
    known = [(r.prompt_bytes, a.prompt_tokens, a.completion_tokens) for r, a in pairs if a.prompt_tokens and a.completion_tokens]
    rate = sum(k[1] for k in known) / sum(k[0] for k in known) if known else 1 / BYTES_PER_TOKEN
    tokens_in = work.bytes_to_send * rate
    low, mean, high = _mean_interval([k[2] for k in known]) if known else (0.0,) + (float(teacher.max_completion_tokens),) * 2
    high = min(high, max(mean, teacher.max_completion_tokens))
    outs = [work.to_send * value for value in (low, mean, high)]
    usd_low, usd, usd_high, most = (_usd(prices, tokens_in, out) for out in (*outs, work.to_send * teacher.max_completion_tokens))
    latencies = [a.latency_ms / 1000 for _, a in pairs if a.latency_ms]
    seconds, bottleneck = _duration(work.to_send, tokens_in + outs[1], latencies, teacher)
    return Estimate(
        total_count=work.total,
        to_send_count=work.to_send,
        measured_count=len(known),
        prompt_tokens=tokens_in,
        completion_tokens=outs[1],
        completion_tokens_low=outs[0],
        completion_tokens_high=outs[2],
        usd=usd,
        usd_low=usd_low,
        usd_high=usd_high,
        most_usd=most,
        seconds=seconds,
        bottleneck=bottleneck,
    )


def _mean_interval(values: Sequence[int]) -> tuple[float, float, float]:
    mean = float(np.mean(values))
    half = Z_95 * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else mean
    return max(0.0, mean - half), mean, mean + half


def _usd(prices: Prices, tokens_in: float, tokens_out: float) -> float | None:
    return price(prices, Usage(prompt_tokens=math.ceil(tokens_in), completion_tokens=math.ceil(tokens_out)))


def _duration(count: int, tokens: float, latencies: Sequence[float], teacher: TeacherConfig) -> tuple[float | None, str]:
    """Seconds at the tightest limit, and which it is; null if none is known."""
    times = {}
    if teacher.requests_per_minute:
        times["teacher.requests_per_minute"] = count / teacher.requests_per_minute * 60
    if teacher.tokens_per_minute:
        times["teacher.tokens_per_minute"] = tokens / teacher.tokens_per_minute * 60
    if latencies:
        times["teacher.concurrency"] = count * float(np.mean(latencies)) / teacher.concurrency
    if not times:
        return None, "nothing measured, no limit set"
    tightest = max(times, key=lambda name: times[name])
    return times[tightest], tightest


def describe(estimate: Estimate, teacher: TeacherConfig) -> list[tuple[str, str]]:
    """The estimate as lines of a name and what is known."""
    e = estimate
    basis = f"measured on {e.measured_count} answers" if e.is_measured else "NOT measured: 4 bytes a token in, the limit out"
    lines = [
        ("requests", f"{e.to_send_count:,} to send of {e.total_count:,}"),
        ("tokens in", f"{e.prompt_tokens:,.0f}"),
        ("tokens out", f"{e.completion_tokens:,.0f} [{e.completion_tokens_low:,.0f}, {e.completion_tokens_high:,.0f}]"),
        ("basis", basis),
        ("money", _money(e)),
        ("time", "unknown: " + e.bottleneck if e.seconds is None else f"{_clock(e.seconds)}, limited by {e.bottleneck}"),
    ]
    if not e.is_measured and e.to_send_count:
        lines.append(("advice", "ask a few first: --set teacher.max_documents=10, then estimate again"))
    return lines


def _money(e: Estimate) -> str:
    if e.usd is None:
        return "unknown: set teacher.prompt_usd_per_million and teacher.completion_usd_per_million"
    return f"{e.usd:,.2f} USD [{e.usd_low:,.2f}, {e.usd_high:,.2f}], at most {e.most_usd:,.2f} if every answer takes its limit"


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
