"""What the answers make together: rows of `raw_traces`, what they cost, and the share of failures."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from schemas.errors import TeacherError
from schemas.fields import TOKEN_COLUMNS
from schemas.refs import StageCost
from schemas.tables import RAW_TRACES
from tasks.traces.answers import Answer, is_answered
from tasks.traces.plan import Asked


@dataclass
class Spending:
    """Sums over answers; a sum with an unknown part is unknown, and a failed request is no part."""

    request_count: int = 0
    attempt_count: int = 0
    failed_count: int = 0
    truncated_count: int = 0
    tokens: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(TOKEN_COLUMNS, 0))
    cost_usd: float | None = 0.0

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        self.request_count += 1
        self.attempt_count += answer.attempt_count
        if not is_answered(answer):
            self.failed_count += 1
            return
        for name in TOKEN_COLUMNS:
            self.tokens[name] = _plus(self.tokens[name], getattr(answer, name))
        self.cost_usd = None if self.cost_usd is None or answer.cost_usd is None else self.cost_usd + answer.cost_usd


def _plus(total: int | None, more: int | None) -> int | None:
    return None if total is None or more is None else total + more


def stage_cost(sent: Spending, behind: Spending) -> StageCost:
    """What this run used, and what all answers behind the rows used, whichever run asked them."""
    return StageCost(
        request_count=sent.request_count,
        **sent.tokens,
        cost_usd=sent.cost_usd if sent.request_count > sent.failed_count else None,
        total_request_count=behind.request_count,
        **{f"total_{name}": count for name, count in behind.tokens.items()},
        total_cost_usd=behind.cost_usd if behind.request_count > behind.failed_count else None,
        rows_in_count=behind.request_count,
        rejected_count=sent.failed_count,
    )


def trace_rows(dataset: str, asked: Sequence[Asked], answers: Mapping[str, Answer]) -> pl.DataFrame:
    """`raw_traces` of some rows; documents of the same text share a request."""
    rows = [
        answers[row.request_hash].model_dump() | {"dataset": dataset, "document_id": row.document_id, "split": row.split}
        for row in asked
    ]
    return RAW_TRACES.conform(pl.DataFrame(rows, schema=RAW_TRACES.schema))


def in_parts(asked: Sequence[Asked], size: int) -> Iterator[Sequence[Asked]]:
    """The rows, so many at a time; one empty part if there are none."""
    yield from (asked[start : start + size] for start in range(0, max(len(asked), 1), size))


def count_failures(kinds: Iterable[str | None]) -> Counter[str]:
    """How often each error kind ended a request; answers (null) are left out."""
    return Counter(kind for kind in kinds if kind is not None)


def refuse_failures(failures: Counter[str], total: int, max_error_frac: float, last_text: str | None) -> None:
    """Refuse to go on with too few answers.

    Args:
        failures: requests that failed, by error kind.
        total: all requests.
        max_error_frac: the share that may fail.
        last_text: what one of them said; null if it failed in an earlier run.

    Raises:
        TeacherError: more than this share of the requests ended with an error.
    """
    failed = failures.total()
    if failed > max_error_frac * total:
        counts = ", ".join(f"{count} {kind}" for kind, count in failures.most_common(6))
        said = f"; one said: {last_text}" if last_text else ""
        raise TeacherError(
            f"raw_traces: {failed} of {total} requests failed ({failed / total:.3f} > max_error_frac {max_error_frac}): "
            f"{counts}{said}. Answers are kept: run again to ask the rest"
        )
