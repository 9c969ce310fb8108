"""The form by hand: what is allowed after each beginning, and what is drawn from it."""

import pytest
import torch

from tasks.sequences.held_form import Draw, Form, HeldForm

TOKENS = ["<pad>", "<refine>", "<answer>", "<end>", "<keep>", "<drop>", "@a", "@b", "w", "v"]
ID = {token: place for place, token in enumerate(TOKENS)}


def form(has_trace: bool = True, evidence_words: int = 1) -> Form:
    marks = ID["<refine>"], ID["<answer>"], ID["<end>"], (ID["<keep>"], ID["<drop>"])
    return Form(*marks, torch.tensor([6, 7]), torch.tensor([8, 9]), evidence_words, has_trace)


def allowed_after(written: str, has_trace: bool = True, max_new_tokens: int = 30) -> set[str]:
    """What may follow a beginning; the beginning itself must be allowed."""
    held = HeldForm(form(has_trace), 1, len(TOKENS), max_new_tokens, torch.device("cpu"))
    ids = [0]
    for token in written.split():
        scores = held(torch.tensor([ids]), torch.zeros(1, len(TOKENS)))
        assert scores[0, ID[token]] == 0, f"{token} is ruled out after {ids}"
        ids.append(ID[token])
    scores = held(torch.tensor([ids]), torch.zeros(1, len(TOKENS)))
    return {token for token, score in zip(TOKENS, scores[0].tolist(), strict=True) if score == 0}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", "@a @b"),
        ("@a", "@b <refine>"),
        ("@a @b", "<refine>"),
        ("@a <refine>", "<keep> <drop> <answer>"),
        ("@a <refine> <keep>", "@a @b"),
        ("@a <refine> <keep> @b", "<keep> <drop> <answer> w v"),
        ("@a <refine> <keep> @b w", "<keep> <drop> <answer>"),
        ("@a <refine> <keep> @b <drop>", "@a"),
        ("@a <refine> <keep> @b <drop> @a", "<answer> w v"),
        ("@a <refine> <answer>", "@a @b"),
        ("@a <refine> <keep> @a <answer> @a", "@b <end>"),
        ("@a <refine> <answer> @a @b", "<end>"),
        ("@a <refine> <answer> @a <end>", " ".join(TOKENS)),
    ],
)
def test_what_may_follow(written: str, expected: str) -> None:
    assert allowed_after(written) == set(expected.split())


@pytest.mark.parametrize(("written", "expected"), [("", "@a @b"), ("@b", "@a <end>"), ("@a @b", "<end>")])
def test_what_may_follow_in_answers_alone(written: str, expected: str) -> None:
    assert allowed_after(written, has_trace=False) == set(expected.split())


@pytest.mark.parametrize(
    ("written", "max_new_tokens", "expected"),
    [
        ("@a", 5, "<refine>"),
        ("@a", 6, "<refine> @b"),
        ("@a <refine>", 6, "<answer>"),
        ("@a <refine>", 7, "<keep> <drop> <answer>"),
        ("@a <refine> <keep> @a", 7, "<answer>"),
        ("@a <refine> <keep> @a", 8, "<answer> w v"),
        ("@a <refine> <answer> @a", 5, "<end>"),
    ],
)
def test_room_to_end_is_kept(written: str, max_new_tokens: int, expected: str) -> None:
    assert allowed_after(written, max_new_tokens=max_new_tokens) == set(expected.split())


def test_a_sequence_is_free_until_its_likeliest_token_breaks_the_form_and_repeats_do_not_count() -> None:
    held = HeldForm(form(), 3, len(TOKENS), 30, torch.device("cpu"))
    likeliest = torch.nn.functional.one_hot(torch.tensor([ID["@a"], ID["<end>"], ID["@a"]]), len(TOKENS)).float()
    held(torch.zeros(3, 1, dtype=torch.long), likeliest)
    assert held.is_free.tolist() == [True, False, True]
    likeliest = torch.nn.functional.one_hot(torch.tensor([ID["@a"], ID["@a"], ID["w"]]), len(TOKENS)).float()
    scores = held(torch.tensor([[0, ID["@a"]]] * 3), likeliest)
    assert held.is_free.tolist() == [True, False, False]
    assert scores[0, ID["@a"]] == -torch.inf


def test_draw_is_from_the_softmax_by_its_seed() -> None:
    log_probs = torch.tensor([0.1, 0.3, 0.6]).log()
    draw = Draw(2.0, 3, torch.device("cpu"))
    drawn = draw(torch.zeros(1, 1), (2 * log_probs).expand(20_000, 3)).argmax(dim=1)
    assert torch.bincount(drawn).div(20_000).tolist() == pytest.approx([0.1, 0.3, 0.6], abs=0.015)
    again = Draw(2.0, 3, torch.device("cpu"))
    assert torch.equal(again(torch.zeros(1, 1), (2 * log_probs).expand(20_000, 3)).argmax(dim=1), drawn)
