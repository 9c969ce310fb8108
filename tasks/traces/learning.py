"""Which form of answer a server and model follow: the first of the ladder that most of a few real questions come back in."""

from collections.abc import Sequence

from tasks.traces.answers import TRUNCATED, Answer, is_answered
from tasks.traces.forms import follows_form

LADDER = ("json_schema", "tagged")
"""Forms that are tried in this order; what follows neither is asked in free text."""

LAST_FORM = "free"
PROBES = 3
"""Questions a form is tried on; their answers are kept and count."""


def is_followed(form: str, answers: Sequence[Answer]) -> bool | None:
    """Whether more than half of the answers, of the whole ones if there are any, have the form; null if nobody answered."""
    answered = [answer for answer in answers if is_answered(answer)]
    ended = [answer for answer in answered if answer.finish_reason not in TRUNCATED] or answered
    if not ended:
        return None
    followed = sum(
        follows_form(form, answer.variant, answer.completion_text or "", answer.reasoning_text or "") for answer in ended
    )
    return followed > len(ended) / 2
