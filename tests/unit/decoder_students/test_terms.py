import pytest
import torch

from tasks.decoder_students.phase_signals import Weighted
from tasks.decoder_students.terms import Lambdas, Terms, add_terms, step_losses

LAMBDAS = Lambdas(kd=0.5, p1=0.3, p2=0.1)
NAMES = (
    "token_loss",
    "distribution_loss",
    "p1_attention_loss",
    "p1_write_loss",
    "p1_interaction_loss",
    "p2_loop_loss",
    "p2_write_loss",
    "p2_interaction_loss",
)


def every(values: list[float], weights: list[float]) -> Terms[Weighted]:
    pairs = zip(values, weights, strict=True)
    return Terms(**{n: Weighted(torch.tensor(v), torch.tensor(w)) for n, (v, w) in zip(NAMES, pairs, strict=True)})


def weights_of(part: Terms[Weighted]) -> Terms[torch.Tensor]:
    return part.map(lambda _, value: value.weight)


def test_step_losses_weigh_the_mean_of_each_term() -> None:
    part = every([2.0, 6.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 3.0] + [1.0] * 6)
    losses = step_losses(part, weights_of(part), LAMBDAS)
    assert dict(losses.named()) == pytest.approx(
        dict(zip(NAMES, [2.0, 2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], strict=True)) | {"total_loss": 2 + 0.5 * 2 + 0.3 * 6 + 0.1 * 15}
    )


def test_step_losses_of_parts_add_up_to_that_of_the_whole_batch() -> None:
    first, second = every([2.0] * 8, [1.0] * 8), every([5.0] * 8, [3.0] * 8)
    whole = every([7.0] * 8, [4.0] * 8)
    weights = add_terms(weights_of(first), weights_of(second))
    summed = step_losses(first, weights, LAMBDAS) + step_losses(second, weights, LAMBDAS)
    assert dict(summed.named()) == pytest.approx(dict(step_losses(whole, weights_of(whole), LAMBDAS).named()))


def test_step_losses_without_some_terms_name_and_weigh_only_the_others() -> None:
    one = torch.tensor(1.0)
    part = Terms(token_loss=Weighted(one * 4, one * 2), p2_write_loss=Weighted(one * 3, one))
    losses = step_losses(part, weights_of(part), LAMBDAS)
    assert dict(losses.named()) == pytest.approx({"token_loss": 2.0, "p2_write_loss": 3.0, "total_loss": 2.3})


def test_step_losses_have_the_gradient_of_the_weighted_mean_and_none_where_nothing_has_weight() -> None:
    value = torch.tensor([1.0, 1.0], requires_grad=True)
    nothing = Weighted(value[1] * 0.0, torch.tensor(0.0))
    part = Terms(token_loss=Weighted(value[0] * 2.0, torch.tensor(1.0)), p1_write_loss=nothing)
    weights = Terms(token_loss=torch.tensor(8.0), p1_write_loss=torch.tensor(0.0))
    torch.autograd.backward(step_losses(part, weights, LAMBDAS).total_loss)
    assert value.grad is not None
    assert value.grad.tolist() == [0.25, 0.0]


def test_detach_lets_go_of_the_graph_and_keeps_the_values() -> None:
    value = torch.tensor(3.0, requires_grad=True)
    part = Terms(token_loss=Weighted(value * 1.0, torch.tensor(2.0)))
    kept = step_losses(part, weights_of(part), LAMBDAS).detach()
    assert not kept.total_loss.requires_grad
    assert not any(term.requires_grad for _, term in kept.terms.items())
    assert dict(kept.named()) == {"token_loss": 1.5, "total_loss": 1.5}
