"""Who is trained on, and which tokens of a sequence are learnt."""

from dataclasses import replace

import numpy as np
import pytest

from schemas.errors import TrainingError
from tasks.decoder_students.material import Lessons, Reader, split_documents
from tasks.open_models.lessons import NO_PHASE, PHASES
from tests.support import planted_decoder as planted
from tests.unit.heads.drawn_sequences import drawn_sequence

MARKS = {"<shortlist>": planted.SHORTLIST, "<refine>": planted.REFINE, "<answer>": planted.ANSWER, "<end>": planted.END}
COMPACT = Reader(MARKS, -1, planted.END, 64)
CHAT = Reader(None, -1, 96, 64)


def test_split_documents_keeps_what_the_teacher_was_not_trained_on_and_fills_up() -> None:
    names = [f"d{number:02}" for number in range(40)]
    found = split_documents(names, ["d03", "d07", "gone"], 0.2, 100)
    assert found.dev[:2] in (("d03", "d07"), ("d07", "d03"))
    assert len(found.dev) == 8
    assert set(found.dev) | set(found.train) == set(names)
    assert not set(found.dev) & set(found.train)
    assert found.left_out_count == 0


def test_split_documents_takes_no_more_than_can_be_seen_once_and_always_the_same() -> None:
    names = [f"d{number:02}" for number in range(40)]
    found, again = (split_documents(order, [], 0.1, 10) for order in (names, names[::-1]))
    assert found == again
    assert (len(found.train), found.left_out_count) == (10, 26)


def test_split_documents_refuses_too_few_and_none_left() -> None:
    with pytest.raises(TrainingError, match="19 train documents"):
        split_documents([str(number) for number in range(19)], [], 0.1, 10)
    with pytest.raises(TrainingError, match="none is left"):
        split_documents([str(number) for number in range(20)], [str(number) for number in range(20)], 0.1, 10)


def test_trace_learns_all_of_the_response_and_nothing_of_the_document() -> None:
    sequence = planted.planted_sequence(0)
    lesson = COMPACT.trace(sequence)
    assert (lesson.phases[: sequence.response_start] == NO_PHASE).all()
    assert (lesson.phases[sequence.response_start :] != NO_PHASE).all()


def test_answers_learns_the_final_answers_after_the_document_alone() -> None:
    sequence = planted.planted_sequence(0)
    lesson = COMPACT.answers(sequence)
    answers = sequence.token_ids[np.flatnonzero(sequence.token_ids == planted.ANSWER)[0] :]
    assert lesson.token_ids.tolist() == [*sequence.token_ids[: sequence.response_start].tolist(), *answers.tolist()]
    assert (lesson.phases[-len(answers) :] == PHASES.index("answer")).all()
    assert (lesson.phases[: -len(answers)] == NO_PHASE).all()
    assert planted.REFINE not in lesson.token_ids


def test_answers_of_a_trace_that_is_cut_off_before_them_learns_nothing() -> None:
    sequence = planted.planted_sequence(0)
    cut = replace(sequence, token_ids=sequence.token_ids[: sequence.refine_start])
    assert (COMPACT.answers(cut).phases == NO_PHASE).all()


def test_answers_of_a_chat_text_are_all_that_stands_behind_the_prompt_and_its_end() -> None:
    sequence = drawn_sequence(0)
    lesson = CHAT.answers(sequence)
    start = sequence.response_start
    assert lesson.token_ids.tolist() == [*sequence.token_ids.tolist(), 96]
    assert (lesson.phases[:start] == NO_PHASE).all()
    assert (lesson.phases[start:] == PHASES.index("answer")).all()


def test_answers_of_a_chat_text_without_any_learn_nothing_not_even_its_end() -> None:
    sequence = drawn_sequence(0)
    prompt = replace(sequence, token_ids=sequence.token_ids[: sequence.response_start])
    lesson = CHAT.answers(prompt)
    assert lesson.token_ids.tolist() == prompt.token_ids.tolist()
    assert (lesson.phases == NO_PHASE).all()


def test_empty_count_is_of_lessons_without_a_token_to_learn() -> None:
    sequence = drawn_sequence(0)
    prompt = replace(sequence, token_ids=sequence.token_ids[: sequence.response_start])
    train = CHAT.lessons([sequence, prompt, sequence], has_trace=False)
    assert Lessons(train, [], [1, 1, 1], 0).empty_count == 1


def test_trace_of_a_chat_text_learns_its_end_too_unless_it_is_cut() -> None:
    sequence = drawn_sequence(0)
    lesson = CHAT.trace(sequence)
    assert lesson.token_ids[-1] == 96
    assert lesson.phases[-1] == PHASES.index("refine")
    assert lesson.phases[sequence.refine_start - 1] == PHASES.index("shortlist")
    assert len(replace(CHAT, max_tokens=len(sequence.token_ids)).trace(sequence).token_ids) == len(sequence.token_ids)


def test_unknown_tokens_are_not_learnt() -> None:
    sequence = drawn_sequence(0)
    unknown = int(sequence.token_ids[-1])
    assert replace(CHAT, unknown_id=unknown).trace(sequence).phases[len(sequence.token_ids) - 1] == NO_PHASE
