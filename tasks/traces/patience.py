"""How fast and how patiently a teacher is asked, from its settings."""

from schemas.config import TeacherConfig
from tasks.traces.client import AskRules
from tasks.traces.limits import MinuteRate, Pacer, Slots
from tasks.traces.transport import Patience

STREAMED_FROM_TOKENS = 4096
"""`stream: auto` streams answers that may be longer: above this a cut connection loses minutes of work."""


def patience_of(teacher: TeacherConfig) -> Patience:
    """Deadlines, and whether answers are streamed."""
    is_long = teacher.max_completion_tokens > STREAMED_FROM_TOKENS
    is_streaming = teacher.stream == "on" or (teacher.stream == "auto" and is_long)
    return Patience(teacher.timeout_s, teacher.idle_timeout_s, is_streaming)


def ask_rules(teacher: TeacherConfig) -> AskRules:
    """Attempts, pauses, and when to give up."""
    return AskRules(
        max_attempts=teacher.max_attempts,
        max_cut_attempts=teacher.max_cut_attempts,
        first_pause_s=teacher.retry_pause_s,
        max_error_frac=teacher.max_error_frac,
        connection_failure_limit=max(10, 3 * teacher.concurrency),
    )


def pacer_of(teacher: TeacherConfig) -> Pacer:
    """Slots and rates."""
    return Pacer(Slots(teacher.concurrency), _rate(teacher.requests_per_minute), _rate(teacher.tokens_per_minute))


def _rate(per_minute: float | None) -> MinuteRate | None:
    return None if per_minute is None else MinuteRate(per_minute)
