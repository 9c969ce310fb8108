import numpy as np
import pytest
import torch

from schemas.errors import ModelRefusedError
from tasks.open_models.read_out import (
    Speaker,
    Writing,
    draw_traces,
    is_whole,
    make_speaker,
    next_labels,
    rank_labels,
    rationale,
    until_answer,
    write_traces,
)
from tasks.sequences.compact import read_compact
from tests.support.planted_decoder import planted_decoder
from tests.support.planted_stage import NAMES, tokenizer

TOKENS = {i: f"@u{i}" for i in range(len(NAMES))}
PROMPT = "<document> plaina typing hosting plainb"
LONG_PROMPT = f"{PROMPT} plainc drawing plaind"


def speaker(has_trace: bool = True) -> Speaker:
    return make_speaker(planted_decoder(), tokenizer(), TOKENS, has_trace, 2)


def ids(text: str) -> list[int]:
    return [int(one) for one in tokenizer()(text).input_ids]


def whole(text: str, has_trace: bool = True) -> bool:
    return is_whole(text, read_compact(text, {token: label for label, token in TOKENS.items()}), has_trace)


@pytest.mark.parametrize(("has_trace", "mark"), [(True, "<shortlist>"), (False, "<answer>")])
def test_write_traces_begin_with_the_mark_and_keep_the_order(has_trace: bool, mark: str) -> None:
    student = speaker(has_trace)
    prompts = [ids(PROMPT), ids(LONG_PROMPT)]
    free = Writing(4, 2, is_held=False)
    both = [one.token_ids for one in write_traces(student, prompts, free)]
    assert both == [write_traces(student, [prompt], free)[0].token_ids for prompt in prompts]
    assert all(student.text(one).split()[0] == mark for one in both)
    assert all(len(one) <= 6 for one in both)


@pytest.mark.parametrize("has_trace", [True, False])
@pytest.mark.parametrize("max_tokens", [1, 7, 30])
def test_a_held_trace_is_whole_and_within_its_limit(has_trace: bool, max_tokens: int) -> None:
    student = speaker(has_trace)
    drawn = draw_traces(student, [ids(PROMPT), ids(LONG_PROMPT)], Writing(max_tokens, 8, temperature=5.0), 4)
    every = [one for some in drawn for one in some]
    assert all(whole(student.text(one), has_trace) for one in every)
    assert max(len(one) for one in every) <= 1 + max(max_tokens, student.form.least_tokens)
    assert len({tuple(one) for one in every}) > 2


def test_drawn_traces_are_drawn_by_the_seed_alone() -> None:
    student, prompts = speaker(), [ids(PROMPT), ids(LONG_PROMPT)]
    first = draw_traces(student, prompts, Writing(12, 4, temperature=5.0, seed=1), 3)
    torch.manual_seed(7)
    assert draw_traces(student, prompts, Writing(12, 4, temperature=5.0, seed=1), 3) == first
    assert draw_traces(student, prompts, Writing(12, 4, temperature=5.0, seed=2), 3) != first


def test_next_labels_are_those_of_an_unpadded_pass_best_first() -> None:
    student = speaker()
    contexts = [ids(f"{PROMPT} <answer>"), ids(f"{LONG_PROMPT} <shortlist> @u1 <answer>")]
    found = next_labels(student, [[context] for context in contexts], 5, 2)
    for place, context in enumerate(contexts):
        with torch.inference_mode():
            alone = student.model(input_ids=torch.tensor([context])).logits[0, -1].log_softmax(-1)
        best = alone[student.label_tokens].sort(descending=True)
        assert found.nats[place] == pytest.approx(best.values[:5].numpy(), abs=1e-5)
    assert set(found.label_ids[0][:2].tolist()) == {0, 1}  # what typing and hosting are anchors of


def test_next_labels_are_means_of_probabilities_over_a_documents_traces() -> None:
    student = speaker()
    contexts = [ids(f"{PROMPT} <shortlist> @u1 <answer>"), ids(f"{PROMPT} <shortlist> @u5 @u4 <answer>")]
    apart = next_labels(student, [[context] for context in contexts], len(NAMES), 2)
    together = next_labels(student, [contexts], len(NAMES), 4)
    labels, nats = together.label_ids[0], together.nats[0]
    expected = [np.mean([np.exp(apart.nats[row][apart.label_ids[row] == label]) for row in range(2)]) for label in labels]
    assert np.exp(nats) == pytest.approx(expected, rel=1e-4)


def test_next_labels_are_no_more_than_there_are() -> None:
    assert next_labels(speaker(), [[ids(f"{PROMPT} <answer>")]], 100, 1).label_ids.shape == (1, len(NAMES))


def test_labels_without_a_token_cannot_be_predicted() -> None:
    student = make_speaker(planted_decoder(), tokenizer(), TOKENS | {99: "@unheard"}, True, 2)
    assert 99 not in student.label_ids


def test_a_tokenizer_without_marks_is_refused() -> None:
    with pytest.raises(ModelRefusedError, match="any label"):
        make_speaker(planted_decoder(), tokenizer(), {0: "@unheard"}, True, 2)


def test_until_answer_cuts_after_it_or_appends_it() -> None:
    student = speaker()
    assert student.text(until_answer(ids("<shortlist> @u1 <answer> @u1 <end>"), student)) == "<shortlist> @u1 <answer>"
    assert student.text(until_answer(ids("<shortlist> @u1 <end>"), student)) == "<shortlist> @u1 <answer>"
    assert student.text(until_answer(ids("<shortlist> @u1 @u1"), student)) == "<shortlist> @u1 @u1 <answer>"


def test_rank_labels_by_hand() -> None:
    assert rank_labels([7, 2], [2, 5, 7], [-0.1, -1.0, -2.0]) == [(7, 2.0), (2, 1.0), (5, -1.0)]
    assert rank_labels([], [2, 5], [-0.1, -1.0]) == [(2, -0.1), (5, -1.0)]


def test_rationale_is_the_trace_without_its_answers() -> None:
    assert rationale("<shortlist> @u1 <refine> <keep> @u1 w <answer> @u1 <end>") == "<shortlist> @u1 <refine> <keep> @u1 w"
    assert rationale("<shortlist> @u1 <end>") == "<shortlist> @u1"
    assert rationale("<answer> @u1 <end>") == ""


@pytest.mark.parametrize(
    ("text", "has_trace", "expected"),
    [
        ("<shortlist> @u1 <refine> <keep> @u1 <answer> @u1 <end>", True, True),
        ("<shortlist> @u1 <refine> <keep> @u1 <answer> @u1", True, False),
        ("<answer> @u1 @u2 <end>", False, True),
        ("<answer> @u1 @u1 <end>", False, False),
        ("<answer> @u1 plaina <end>", False, False),
        ("<answer> <end>", False, False),
        ("<answer> @u1", False, False),
        ("<answer>", False, False),
    ],
)
def test_is_whole(text: str, has_trace: bool, expected: bool) -> None:
    assert whole(text, has_trace) is expected
