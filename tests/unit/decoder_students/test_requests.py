"""What is refused: answers that most traces do not give apart from their reasoning."""

import pytest

from schemas.errors import ConfigError
from tasks.decoder_students.requests import check_answers
from tasks.open_models.models import ModelRef
from tasks.sequences.answer_section import NO_OPENING, REASONING_BEHIND

TEACHER = ModelRef("/models/chat", "h", "chat", is_compact=False)


def test_check_answers_lets_half_of_the_traces_lack_a_part_for_them() -> None:
    check_answers({NO_OPENING: 3, REASONING_BEHIND: 2}, 10, TEACHER)


def test_check_answers_refuses_more_and_says_why_with_counts() -> None:
    with pytest.raises(
        ConfigError, match=r"in 6 of 10 traces read for 'chat'.*candidates or arguments.*\(4\), nothing opens.*\(2\)"
    ):
        check_answers({NO_OPENING: 2, REASONING_BEHIND: 4}, 10, TEACHER)
